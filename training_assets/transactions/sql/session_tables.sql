-- Of one connection: what a chunk, or a version of the weights, brings and touches. Lengths are
-- given so that no row needs a table for long values, which each end of a transaction would empty.
CREATE TEMPORARY TABLE incoming (
    merchant_id varchar(200) COLLATE "C" NOT NULL,
    customer_id varchar(200) COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    sum_amount numeric(50, 18) NOT NULL,
    last_row bigint NOT NULL,
    gender varchar(1) NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE incoming_weights (
    merchant_id varchar(200) COLLATE "C" NOT NULL,
    customer_id varchar(200) COLLATE "C" NOT NULL,
    weight_sum numeric(50, 18) NOT NULL,
    weight_count bigint NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE touched_pairs (
    merchant_id varchar(200) COLLATE "C" NOT NULL,
    customer_id varchar(200) COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    added bigint NOT NULL,
    sum_amount numeric(50, 18) NOT NULL,
    weight_rank_key numeric(60)
) ON COMMIT DELETE ROWS;
-- Customers who are new, or may have another gender than before.
CREATE TEMPORARY TABLE touched_customers (
    customer_id varchar(200) COLLATE "C" NOT NULL,
    old_gender varchar(1),
    new_gender varchar(1) NOT NULL
) ON COMMIT DELETE ROWS;
-- Merchants above the limit, and whether their weights, or only counts, are to be ranked again.
CREATE TEMPORARY TABLE ranked_merchants (
    merchant_id varchar(200) COLLATE "C" NOT NULL,
    is_new boolean NOT NULL,
    is_reweighted boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE loosened_merchants (
    merchant_id varchar(200) COLLATE "C" NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE gender_merchants (
    merchant_id varchar(200) COLLATE "C" NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE changes (
    pattern_id varchar(6) COLLATE "C" NOT NULL,
    merchant_id varchar(200) COLLATE "C" NOT NULL,
    customer_id varchar(200) COLLATE "C" NOT NULL,
    is_end boolean NOT NULL
) ON COMMIT DELETE ROWS;

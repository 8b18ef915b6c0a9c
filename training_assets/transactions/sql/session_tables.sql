-- Of one connection: what a chunk, or a version of the weights, brings and touches.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    sum_amount numeric NOT NULL,
    last_row bigint NOT NULL,
    gender text NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_weights (
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    weight_sum numeric NOT NULL,
    weight_count bigint NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS touched_pairs (
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    added bigint NOT NULL,
    sum_amount numeric NOT NULL,
    weight_rank_key numeric
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS touched_customers (
    customer_id text COLLATE "C" NOT NULL,
    old_gender text,
    new_gender text NOT NULL
) ON COMMIT DELETE ROWS;
-- Merchants above the limit, and whether their weights, or only counts, are to be ranked again.
CREATE TEMPORARY TABLE IF NOT EXISTS ranked_merchants (
    merchant_id text COLLATE "C" NOT NULL,
    is_new boolean NOT NULL,
    is_reweighted boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS loosened_merchants (
    merchant_id text COLLATE "C" NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS gender_merchants (
    merchant_id text COLLATE "C" NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changes (
    pattern_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    is_end boolean NOT NULL
) ON COMMIT DELETE ROWS;

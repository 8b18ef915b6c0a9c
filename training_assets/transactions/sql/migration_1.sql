-- All text is compared byte by byte, so that every server sorts and numbers alike.

CREATE TABLE pattern_settings (
    name text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- One row. Whoever moves next_row on applies the chunk; all others wait for that row or find it moved.
CREATE TABLE progress (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    next_row bigint NOT NULL DEFAULT 0,
    next_weights bigint NOT NULL DEFAULT 0,
    next_detection bigint NOT NULL DEFAULT 1,
    next_unfiled bigint NOT NULL DEFAULT 1,
    generation integer NOT NULL DEFAULT 0
);

CREATE TABLE applied_chunks (
    first_row bigint PRIMARY KEY,
    last_row bigint NOT NULL CHECK (last_row >= first_row),
    sha256 text NOT NULL,
    object_version text NOT NULL,
    row_count bigint NOT NULL,
    quarantined_count bigint NOT NULL,
    detection_count bigint NOT NULL,
    put_at timestamptz NOT NULL,
    applied_at timestamptz NOT NULL,
    seconds double precision NOT NULL
);

CREATE TABLE applied_weights (
    number bigint PRIMARY KEY,
    from_row bigint NOT NULL,
    before_row bigint NOT NULL,
    sha256 text NOT NULL,
    row_count bigint NOT NULL,
    applied_at timestamptz NOT NULL
);

CREATE TABLE quarantine (
    source text NOT NULL,
    row bigint NOT NULL,
    reason text NOT NULL,
    content text NOT NULL,
    PRIMARY KEY (source, row)
);

CREATE TABLE merchant_transaction_counts (
    merchant_id text COLLATE "C" PRIMARY KEY,
    transaction_count bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE customer_merchant_stats (
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    sum_amount numeric NOT NULL,
    weight_sum numeric NOT NULL DEFAULT 0,
    weight_count bigint NOT NULL DEFAULT 0,
    -- The average weight as a whole number of 10^-36, by exact division: equal averages are equal.
    weight_rank_key numeric GENERATED ALWAYS AS
        (div(weight_sum * 1000000000000000000000000000000000000, nullif(weight_count, 0))) STORED,
    PRIMARY KEY (merchant_id, customer_id)
) WITH (fillfactor = 70);
CREATE INDEX customer_merchant_stats_customer ON customer_merchant_stats (customer_id);
CREATE INDEX customer_merchant_stats_weight ON customer_merchant_stats
    (merchant_id, weight_rank_key) WHERE weight_rank_key IS NOT NULL;

CREATE TABLE customers (
    customer_id text COLLATE "C" PRIMARY KEY,
    gender text NOT NULL CHECK (gender IN ('M', 'F', 'E', 'U'))
);

CREATE TABLE merchant_gender_stats (
    merchant_id text COLLATE "C" NOT NULL,
    gender text NOT NULL,
    customer_count bigint NOT NULL,
    PRIMARY KEY (merchant_id, gender)
) WITH (fillfactor = 70);

CREATE TABLE customer_importance (
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    weight_sum numeric NOT NULL,
    weight_count bigint NOT NULL,
    PRIMARY KEY (merchant_id, customer_id)
);

-- Of merchants above the limit: how many customers have how many transactions.
CREATE TABLE merchant_count_histogram (
    merchant_id text COLLATE "C" NOT NULL,
    transaction_count bigint NOT NULL,
    customer_count bigint NOT NULL,
    PRIMARY KEY (merchant_id, transaction_count)
) WITH (fillfactor = 70);

-- Of merchants above the limit: who has at least min_count transactions and a key of at most
-- max_weight is to be upgraded; null where nobody can be.
CREATE TABLE upgrade_thresholds (
    merchant_id text COLLATE "C" PRIMARY KEY,
    min_count bigint,
    max_weight numeric
) WITH (fillfactor = 70);

-- What is true now; customer_id is empty for a pattern of a merchant.
CREATE TABLE true_patterns (
    pattern_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (pattern_id, merchant_id, customer_id)
);

CREATE TABLE detections (
    detection_id bigint PRIMARY KEY,
    pattern_id text COLLATE "C" NOT NULL,
    merchant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    is_end boolean NOT NULL,
    chunk_last bigint NOT NULL,
    started_at timestamptz NOT NULL,
    detected_at timestamptz NOT NULL
);
CREATE INDEX detections_of ON detections (pattern_id, merchant_id, customer_id);

CREATE TABLE detection_files (
    first_detection bigint PRIMARY KEY,
    last_detection bigint NOT NULL CHECK (last_detection >= first_detection),
    name text NOT NULL UNIQUE,
    planned_at timestamptz NOT NULL,
    exported_at timestamptz
);
CREATE INDEX detection_files_waiting ON detection_files (first_detection) WHERE exported_at IS NULL;

CREATE VIEW customer_merchant_averages AS
SELECT merchant_id, customer_id, transaction_count,
       sum_amount / transaction_count AS average_amount,
       weight_sum / nullif(weight_count, 0) AS average_weight
FROM customer_merchant_stats;

CREATE VIEW current_detections AS
SELECT t.pattern_id, t.merchant_id, t.customer_id,
       min(d.detection_id) AS detection_id, min(d.detected_at) AS detected_at
FROM true_patterns t
LEFT JOIN detections d ON d.pattern_id = t.pattern_id AND d.merchant_id = t.merchant_id
    AND d.customer_id = t.customer_id AND NOT d.is_end
GROUP BY t.pattern_id, t.merchant_id, t.customer_id;

CREATE FUNCTION women_needed(merchant text, women_min bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(customer_count) FILTER (WHERE gender = 'F'), 0) > women_min
        AND coalesce(sum(customer_count) FILTER (WHERE gender = 'F'), 0)
            < coalesce(sum(customer_count) FILTER (WHERE gender = 'M'), 0)
    FROM merchant_gender_stats WHERE merchant_id = merchant
$$;

-- The number of a detection says in which file it is.
CREATE FUNCTION detection_file_name(generation integer, first bigint, last bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN generation > 0
            THEN 'generation-' || lpad(generation::text, 4, '0') || '/' ELSE '' END
        || 'detections-' || lpad(first::text, 12, '0') || '-' || lpad(last::text, 12, '0')
$$;

INSERT INTO progress DEFAULT VALUES;

-- The chunk's totals, in incoming, become part of the counts; touched_pairs is what they are now.
-- Known pairs first, then new ones with their weights: so weights are looked up for new pairs alone.
-- The row of progress is locked, so no other transaction makes a pair in between.
ANALYZE incoming (merchant_id, customer_id);
WITH updated AS (
    UPDATE customer_merchant_stats s
    SET transaction_count = s.transaction_count + i.transaction_count,
        sum_amount = trim_scale(s.sum_amount + i.sum_amount)
    FROM incoming i
    WHERE s.merchant_id = i.merchant_id AND s.customer_id = i.customer_id
    RETURNING s.merchant_id, s.customer_id, s.transaction_count,
              i.transaction_count AS added, s.sum_amount, s.weight_rank_key
)
INSERT INTO touched_pairs
    (merchant_id, customer_id, transaction_count, added, sum_amount, weight_rank_key)
SELECT merchant_id, customer_id, transaction_count, added, sum_amount, weight_rank_key
FROM updated;

WITH inserted AS (
    INSERT INTO customer_merchant_stats
        (merchant_id, customer_id, transaction_count, sum_amount, weight_sum, weight_count,
         weight_rank_key)
    SELECT i.merchant_id, i.customer_id, i.transaction_count, trim_scale(i.sum_amount),
           coalesce(w.weight_sum, 0), coalesce(w.weight_count, 0),
           weight_rank_key(w.weight_sum, w.weight_count)
    FROM (
        SELECT * FROM incoming
        WHERE (merchant_id, customer_id) NOT IN (SELECT merchant_id, customer_id FROM touched_pairs)
        ORDER BY merchant_id, customer_id
    ) i
    -- LIMIT: by the index, not by a hash of all weights.
    LEFT JOIN LATERAL (
        SELECT weight_sum, weight_count FROM customer_importance w
        WHERE w.merchant_id = i.merchant_id AND w.customer_id = i.customer_id
        LIMIT 1
    ) w ON true
    RETURNING merchant_id, customer_id, transaction_count, sum_amount, weight_rank_key
)
INSERT INTO touched_pairs
    (merchant_id, customer_id, transaction_count, added, sum_amount, weight_rank_key)
SELECT merchant_id, customer_id, transaction_count, transaction_count, sum_amount, weight_rank_key
FROM inserted;
ANALYZE touched_pairs (merchant_id, customer_id);

WITH arrived AS (
    SELECT merchant_id, sum(added) AS added, bool_or(added = transaction_count) AS has_new_pair
    FROM touched_pairs GROUP BY merchant_id
), upserted AS (
    INSERT INTO merchant_transaction_counts AS m (merchant_id, transaction_count)
    SELECT merchant_id, added FROM arrived
    ORDER BY merchant_id
    ON CONFLICT (merchant_id) DO UPDATE
    SET transaction_count = m.transaction_count + excluded.transaction_count
    RETURNING merchant_id, transaction_count
)
INSERT INTO ranked_merchants (merchant_id, is_new, is_reweighted)
SELECT u.merchant_id, t.merchant_id IS NULL, t.merchant_id IS NULL OR a.has_new_pair
FROM upserted u
JOIN arrived a USING (merchant_id)
LEFT JOIN upgrade_thresholds t USING (merchant_id)
WHERE u.transaction_count > %(upgrade_min_transactions)s;

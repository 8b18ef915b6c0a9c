-- The chunk's totals, in incoming, become part of the counts; touched_pairs is what they are now.
ANALYZE incoming;
WITH upserted AS (
    INSERT INTO customer_merchant_stats AS s
        (merchant_id, customer_id, transaction_count, sum_amount, weight_sum, weight_count)
    SELECT i.merchant_id, i.customer_id, i.transaction_count, trim_scale(i.sum_amount),
           coalesce(w.weight_sum, 0), coalesce(w.weight_count, 0)
    FROM incoming i
    LEFT JOIN customer_importance w USING (merchant_id, customer_id)
    ORDER BY i.merchant_id, i.customer_id
    ON CONFLICT (merchant_id, customer_id) DO UPDATE
    SET transaction_count = s.transaction_count + excluded.transaction_count,
        sum_amount = trim_scale(s.sum_amount + excluded.sum_amount)
    RETURNING merchant_id, customer_id, transaction_count, sum_amount, weight_rank_key
)
INSERT INTO touched_pairs
    (merchant_id, customer_id, transaction_count, added, sum_amount, weight_rank_key)
SELECT u.merchant_id, u.customer_id, u.transaction_count, i.transaction_count, u.sum_amount,
       u.weight_rank_key
FROM upserted u
JOIN incoming i USING (merchant_id, customer_id);
ANALYZE touched_pairs;

WITH upserted AS (
    INSERT INTO merchant_transaction_counts AS m (merchant_id, transaction_count)
    SELECT merchant_id, sum(transaction_count) FROM incoming GROUP BY merchant_id
    ORDER BY merchant_id
    ON CONFLICT (merchant_id) DO UPDATE
    SET transaction_count = m.transaction_count + excluded.transaction_count
    RETURNING merchant_id, transaction_count
)
INSERT INTO ranked_merchants (merchant_id, is_new, is_reweighted)
SELECT u.merchant_id, t.merchant_id IS NULL, t.merchant_id IS NULL OR p.has_new_pair
FROM upserted u
JOIN (
    SELECT merchant_id, bool_or(added = transaction_count) AS has_new_pair
    FROM touched_pairs GROUP BY merchant_id
) p USING (merchant_id)
LEFT JOIN upgrade_thresholds t USING (merchant_id)
WHERE u.transaction_count > %(upgrade_min_transactions)s;

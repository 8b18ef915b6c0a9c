-- Of each merchant in ranked_merchants: from how many transactions on, and up to which weight, a
-- customer is to be upgraded. With k of n values smaller, percent_rank is k / (n - 1); it is
-- compared in whole numbers. loosened_merchants are those where other customers than the touched
-- ones may have become so.
INSERT INTO merchant_count_histogram (merchant_id, transaction_count, customer_count)
SELECT merchant_id, s.transaction_count, count(*)
FROM ranked_merchants r
JOIN customer_merchant_stats s USING (merchant_id)
WHERE r.is_new
GROUP BY merchant_id, s.transaction_count;

WITH steps AS (
    SELECT merchant_id, p.transaction_count, p.added, count(*) AS customer_count
    FROM touched_pairs p
    JOIN ranked_merchants r USING (merchant_id)
    WHERE NOT r.is_new
    GROUP BY merchant_id, p.transaction_count, p.added
), moves AS (
    SELECT s.merchant_id, m.transaction_count, sum(m.moved) AS moved
    FROM steps s
    CROSS JOIN LATERAL (
        VALUES (s.transaction_count, s.customer_count),
               (s.transaction_count - s.added, -s.customer_count)
    ) AS m (transaction_count, moved)
    WHERE m.transaction_count > 0
    GROUP BY s.merchant_id, m.transaction_count
    HAVING sum(m.moved) <> 0
), upserted AS (
    INSERT INTO merchant_count_histogram AS h (merchant_id, transaction_count, customer_count)
    SELECT merchant_id, transaction_count, moved FROM moves
    ORDER BY merchant_id, transaction_count
    ON CONFLICT (merchant_id, transaction_count) DO UPDATE
    SET customer_count = h.customer_count + excluded.customer_count
)
SELECT;
DELETE FROM merchant_count_histogram h USING ranked_merchants r
WHERE h.merchant_id = r.merchant_id AND h.customer_count = 0;

WITH smaller AS (
    SELECT merchant_id, transaction_count,
           sum(customer_count) OVER (PARTITION BY merchant_id ORDER BY transaction_count)
               - customer_count AS k,
           sum(customer_count) OVER (PARTITION BY merchant_id) AS n
    FROM merchant_count_histogram
    JOIN ranked_merchants USING (merchant_id)
), counts AS (
    SELECT merchant_id, min(transaction_count) AS min_count
    FROM smaller
    WHERE n > 1 AND k * %(top_parts)s >= (%(top_parts)s - %(top)s) * (n - 1)
    GROUP BY merchant_id
), found AS (
    SELECT r.merchant_id, c.min_count,
           CASE WHEN r.is_reweighted THEN w.weight_rank_key ELSE t.max_weight END AS max_weight,
           t.min_count AS old_count, t.max_weight AS old_weight, r.is_new
    FROM ranked_merchants r
    LEFT JOIN counts c USING (merchant_id)
    LEFT JOIN upgrade_thresholds t USING (merchant_id)
    LEFT JOIN LATERAL (
        SELECT count(*) AS n FROM customer_merchant_stats s
        WHERE r.is_reweighted AND s.merchant_id = r.merchant_id AND s.weight_rank_key IS NOT NULL
    ) weighted ON true
    LEFT JOIN LATERAL (
        SELECT s.weight_rank_key FROM customer_merchant_stats s
        WHERE weighted.n > 1 AND s.merchant_id = r.merchant_id AND s.weight_rank_key IS NOT NULL
        ORDER BY s.weight_rank_key
        OFFSET greatest(0, %(bottom)s * (weighted.n - 1) / %(bottom_parts)s) LIMIT 1
    ) w ON true
), stored AS (
    INSERT INTO upgrade_thresholds AS t (merchant_id, min_count, max_weight)
    SELECT merchant_id, min_count, max_weight FROM found ORDER BY merchant_id
    ON CONFLICT (merchant_id) DO UPDATE
    SET min_count = excluded.min_count, max_weight = excluded.max_weight
    WHERE (t.min_count, t.max_weight) IS DISTINCT FROM (excluded.min_count, excluded.max_weight)
)
INSERT INTO loosened_merchants (merchant_id)
SELECT f.merchant_id
FROM found f JOIN ranked_merchants r USING (merchant_id)
WHERE f.min_count IS NOT NULL AND f.max_weight IS NOT NULL AND (
    f.is_new OR %(is_weights)s
    OR f.old_count IS NULL OR f.min_count < f.old_count
    OR f.old_weight IS NULL OR f.max_weight > f.old_weight
);

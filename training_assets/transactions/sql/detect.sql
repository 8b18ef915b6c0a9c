-- What became true and what ended, into changes and true_patterns.
WITH upgraded AS (
    SELECT s.merchant_id, s.customer_id
    FROM loosened_merchants l
    JOIN upgrade_thresholds t USING (merchant_id)
    JOIN customer_merchant_stats s ON s.merchant_id = t.merchant_id
        AND s.transaction_count >= t.min_count AND s.weight_rank_key <= t.max_weight
    UNION
    SELECT p.merchant_id, p.customer_id
    FROM touched_pairs p
    JOIN upgrade_thresholds t ON p.merchant_id = t.merchant_id
        AND p.transaction_count >= t.min_count AND p.weight_rank_key <= t.max_weight
), begun AS (
    INSERT INTO true_patterns (pattern_id, merchant_id, customer_id)
    SELECT 'PatId1', merchant_id, customer_id FROM upgraded
    UNION ALL
    SELECT 'PatId2', merchant_id, customer_id FROM touched_pairs
    WHERE transaction_count >= %(child_min_transactions)s
        AND sum_amount < %(child_max_average)s * transaction_count
    UNION ALL
    SELECT 'PatId3', merchant_id, '' FROM gender_merchants g
    WHERE women_needed(merchant_id, %(women_min)s)
    ON CONFLICT DO NOTHING
    RETURNING pattern_id, merchant_id, customer_id
)
INSERT INTO changes (pattern_id, merchant_id, customer_id, is_end)
SELECT pattern_id, merchant_id, customer_id, false FROM begun;

WITH ended AS (
    SELECT o.pattern_id, o.merchant_id, o.customer_id
    FROM ranked_merchants r
    JOIN true_patterns o ON o.pattern_id = 'PatId1' AND o.merchant_id = r.merchant_id
    JOIN upgrade_thresholds t ON t.merchant_id = o.merchant_id
    JOIN customer_merchant_stats s
        ON s.merchant_id = o.merchant_id AND s.customer_id = o.customer_id
    WHERE (s.transaction_count >= t.min_count AND s.weight_rank_key <= t.max_weight) IS NOT TRUE
    UNION ALL
    SELECT o.pattern_id, o.merchant_id, o.customer_id
    FROM touched_pairs p
    JOIN true_patterns o ON o.pattern_id = 'PatId2' AND o.merchant_id = p.merchant_id
        AND o.customer_id = p.customer_id
    WHERE p.sum_amount >= %(child_max_average)s * p.transaction_count
    UNION ALL
    SELECT o.pattern_id, o.merchant_id, o.customer_id
    FROM gender_merchants g
    JOIN true_patterns o ON o.pattern_id = 'PatId3' AND o.merchant_id = g.merchant_id
    WHERE NOT women_needed(g.merchant_id, %(women_min)s)
), removed AS (
    DELETE FROM true_patterns o USING ended e
    WHERE o.pattern_id = e.pattern_id AND o.merchant_id = e.merchant_id
        AND o.customer_id = e.customer_id
    RETURNING o.pattern_id, o.merchant_id, o.customer_id
)
INSERT INTO changes (pattern_id, merchant_id, customer_id, is_end)
SELECT pattern_id, merchant_id, customer_id, true FROM removed;

WITH emitted AS (
    SELECT c.*, row_number() OVER (ORDER BY pattern_id, merchant_id, customer_id) AS number
    FROM changes c
    WHERE %(emits_changes)s OR NOT c.is_end AND NOT EXISTS (
        SELECT FROM detections d WHERE d.pattern_id = c.pattern_id
            AND d.merchant_id = c.merchant_id AND d.customer_id = c.customer_id
    )
), made AS (
    INSERT INTO detections (detection_id, pattern_id, merchant_id, customer_id, is_end, chunk_last,
                            started_at, detected_at)
    SELECT p.next_detection + e.number - 1, e.pattern_id, e.merchant_id, e.customer_id, e.is_end,
           p.next_row - 1, %(started_at)s, (SELECT clock_timestamp())
    FROM emitted e CROSS JOIN progress p
    RETURNING detection_id
)
UPDATE progress SET next_detection = next_detection + (SELECT count(*) FROM made);

WITH planned AS (
    INSERT INTO detection_files (first_detection, last_detection, name, planned_at)
    SELECT first, first + %(file_rows)s - 1,
           detection_file_name(generation, first, first + %(file_rows)s - 1), clock_timestamp()
    FROM progress
    CROSS JOIN LATERAL generate_series(
        next_unfiled, next_detection - %(file_rows)s, %(file_rows)s) AS first
    RETURNING last_detection
)
UPDATE progress SET next_unfiled = coalesce((SELECT max(last_detection) + 1 FROM planned),
                                            next_unfiled);

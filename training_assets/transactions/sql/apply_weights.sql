-- A version of the weights, in incoming_weights, takes the place of the one before it.
ANALYZE incoming_weights;
CREATE TEMPORARY TABLE changed_weights ON COMMIT DROP AS
SELECT merchant_id, customer_id, coalesce(i.weight_sum, 0) AS weight_sum,
       coalesce(i.weight_count, 0) AS weight_count
FROM incoming_weights i
FULL JOIN customer_importance w USING (merchant_id, customer_id)
WHERE (i.weight_sum, i.weight_count) IS DISTINCT FROM (w.weight_sum, w.weight_count);
ANALYZE changed_weights;

INSERT INTO customer_importance (merchant_id, customer_id, weight_sum, weight_count)
SELECT merchant_id, customer_id, trim_scale(weight_sum), weight_count
FROM changed_weights WHERE weight_count > 0
ORDER BY merchant_id, customer_id
ON CONFLICT (merchant_id, customer_id) DO UPDATE
SET weight_sum = excluded.weight_sum, weight_count = excluded.weight_count;
DELETE FROM customer_importance w USING changed_weights c
WHERE w.merchant_id = c.merchant_id AND w.customer_id = c.customer_id AND c.weight_count = 0;

WITH updated AS (
    UPDATE customer_merchant_stats s
    SET weight_sum = trim_scale(c.weight_sum), weight_count = c.weight_count,
        weight_rank_key = weight_rank_key(c.weight_sum, c.weight_count)
    FROM changed_weights c
    WHERE s.merchant_id = c.merchant_id AND s.customer_id = c.customer_id
    RETURNING s.merchant_id
)
INSERT INTO ranked_merchants (merchant_id, is_new, is_reweighted)
SELECT DISTINCT merchant_id, false, true FROM updated JOIN upgrade_thresholds USING (merchant_id);

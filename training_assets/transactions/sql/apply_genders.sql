-- The newest row of a customer says the gender, also where the customer was counted before.
INSERT INTO touched_customers (customer_id, old_gender, new_gender)
SELECT DISTINCT ON (i.customer_id) i.customer_id, s.gender, i.gender
FROM (
    SELECT DISTINCT i.customer_id, c.gender
    FROM incoming i LEFT JOIN customers c USING (customer_id)
    WHERE i.gender IS DISTINCT FROM c.gender
) s
JOIN incoming i USING (customer_id)
ORDER BY i.customer_id, i.last_row DESC;

INSERT INTO customers (customer_id, gender)
SELECT customer_id, new_gender FROM touched_customers
WHERE old_gender IS DISTINCT FROM new_gender
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET gender = excluded.gender;

WITH moves AS (
    SELECT p.merchant_id, c.gender, 1 AS moved
    FROM touched_pairs p
    JOIN customers c USING (customer_id)
    WHERE p.added = p.transaction_count
    UNION ALL
    SELECT s.merchant_id, g.gender, g.moved
    FROM touched_customers c
    JOIN customer_merchant_stats s USING (customer_id)
    CROSS JOIN LATERAL (VALUES (c.old_gender, -1), (c.new_gender, 1)) AS g (gender, moved)
    WHERE c.old_gender <> c.new_gender AND NOT EXISTS (
        SELECT FROM touched_pairs p
        WHERE p.merchant_id = s.merchant_id AND p.customer_id = s.customer_id
            AND p.added = p.transaction_count
    )
), upserted AS (
    INSERT INTO merchant_gender_stats AS m (merchant_id, gender, customer_count)
    SELECT merchant_id, gender, sum(moved) FROM moves
    GROUP BY merchant_id, gender HAVING sum(moved) <> 0
    ORDER BY merchant_id, gender
    ON CONFLICT (merchant_id, gender) DO UPDATE
    SET customer_count = m.customer_count + excluded.customer_count
    RETURNING merchant_id
)
INSERT INTO gender_merchants (merchant_id) SELECT DISTINCT merchant_id FROM upserted;

DELETE FROM merchant_gender_stats m USING gender_merchants g
WHERE m.merchant_id = g.merchant_id AND m.customer_count = 0;

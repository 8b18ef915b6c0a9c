-- The detections that do not fill a file, as one, and no more than one at a time.
WITH waiting AS (
    SELECT next_unfiled AS first, next_detection - 1 AS last, generation
    FROM progress WHERE next_unfiled < next_detection FOR UPDATE
), planned AS (
    INSERT INTO detection_files (first_detection, last_detection, name, planned_at)
    SELECT first, last, detection_file_name(generation, first, last), clock_timestamp()
    FROM waiting
    RETURNING last_detection
)
UPDATE progress SET next_unfiled = last_detection + 1 FROM planned;

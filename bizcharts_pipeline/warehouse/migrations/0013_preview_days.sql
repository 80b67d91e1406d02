-- The posts that a preview could have compared; a vision model scores only the newest of them, within its budget.
ALTER TABLE model_previews ADD COLUMN days_posts INTEGER;  -- of the last days, by the champion; NULL: not recorded

-- What must change before a post is scored again by the same model version: 'picture', 'model', 'endpoint', 'budget'.
-- NULL: the score is final.
ALTER TABLE scored_posts ADD COLUMN waits_for VARCHAR;
UPDATE scored_posts SET waits_for = 'model' WHERE contains(method, '(fallback for ');

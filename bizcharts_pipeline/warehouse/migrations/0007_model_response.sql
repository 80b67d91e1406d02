-- How a model's stance answers people's net stance on gold: what a corrected monthly figure is computed from.
-- Means over gold posts: people's net stance; the model's weight; its weighted stance; and by how much the last two
-- differ between a bullish and a bearish post. NULL: measured before this version, or gold lacks a class.
ALTER TABLE model_evaluations ADD COLUMN response DOUBLE[];
ALTER TABLE model_evaluations ADD COLUMN response_covariance DOUBLE[];  -- 25, over resampled gold posts

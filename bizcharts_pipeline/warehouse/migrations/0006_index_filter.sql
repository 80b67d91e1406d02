-- How a row was computed; NULL: by the smoothed average of before.
ALTER TABLE fear_greed_index ADD COLUMN method VARCHAR;
ALTER TABLE coin_sentiment ADD COLUMN method VARCHAR;
ALTER TABLE fear_greed_index ADD COLUMN history_days INTEGER;    -- daily points that the value is ranked in, or would be
ALTER TABLE fear_greed_index ADD COLUMN stance_wide_lo DOUBLE;   -- 90 % interval that counts the model's error too
ALTER TABLE fear_greed_index ADD COLUMN stance_wide_hi DOUBLE;
-- What the index's filters know at a day's end: the market's in one row, the coins' in one each, what coins share in one.
CREATE TABLE index_states (
    model_version  VARCHAR   NOT NULL,
    method         VARCHAR   NOT NULL,
    "at"           TIMESTAMP NOT NULL,  -- a day's end; of the posts up to two hours before
    series         VARCHAR   NOT NULL,  -- 'market', 'coins' or 'coin:' and the symbol
    seen_at        TIMESTAMP,           -- of a coin: the end of the hour that named it last
    figures        DOUBLE[]  NOT NULL
);
-- People's net stance on gold beside the model's, and how much of people's movement the model's stance shows.
ALTER TABLE model_evaluations ADD COLUMN net_offset DOUBLE;           -- people's less the model's, certainty-weighted
ALTER TABLE model_evaluations ADD COLUMN net_offset_variance DOUBLE;  -- over resampled gold posts
ALTER TABLE model_evaluations ADD COLUMN slope DOUBLE;                -- stance a unit of people's net stance
ALTER TABLE model_evaluations ADD COLUMN slope_lo DOUBLE;             -- 95 % interval
ALTER TABLE model_evaluations ADD COLUMN slope_hi DOUBLE;

-- What a model would say, or says, of the last days' posts in place of the champion. Append-only.
CREATE TABLE model_previews (
    made_at        TIMESTAMP NOT NULL,
    model_version  VARCHAR   NOT NULL,
    champion       VARCHAR,            -- the model that it replaces; NULL: there was none
    outcome        VARCHAR   NOT NULL,  -- 'preview': only looked at; 'held': waits for a person; 'switched': became champion
    reason         VARCHAR,            -- why nothing was measured; NULL: it was
    since          TIMESTAMP,          -- of the first post
    posts          INTEGER   NOT NULL,  -- that both models scored, and that count in the index
    mean_old       DOUBLE,             -- mean stance of these posts
    mean_new       DOUBLE,
    correlation    DOUBLE,             -- of the stances; NULL: one of the models always says the same
    class_changed  DOUBLE,             -- share of the posts whose likeliest class changes
    stance_old     DOUBLE,             -- present stance of the board, from these posts
    stance_new     DOUBLE,
    value_old      DOUBLE,             -- and its rank, the index value; NULL: calibrating, or no reading
    value_new      DOUBLE,
    shift          DOUBLE,             -- value_new - value_old
    shift_lo       DOUBLE,
    shift_hi       DOUBLE,
    mapped_days    INTEGER,            -- daily points of the ranking that are older than the posts: taken from the champion
    changed_most   JSON      NOT NULL   -- threads with the stances by both models
);

-- What a trained model is, beyond its figures. `accuracy` and `macro_f1` are on gold; of a refitted model those of the
-- one it was refitted from, for gold has trained it too.
ALTER TABLE model_versions ADD COLUMN base_revision VARCHAR;
ALTER TABLE model_versions ADD COLUMN code_version VARCHAR;
ALTER TABLE model_versions ADD COLUMN seed BIGINT;
ALTER TABLE model_versions ADD COLUMN settings JSON;
ALTER TABLE model_versions ADD COLUMN refit_of VARCHAR;       -- the version that won on gold, of which this is the refit on all labels
ALTER TABLE model_versions ADD COLUMN seconds DOUBLE;         -- that training took
ALTER TABLE model_versions ADD COLUMN usd DECIMAL(18, 6);     -- that a rented pod cost; NULL: trained here
ALTER TABLE model_versions ADD COLUMN gpu VARCHAR;
ALTER TABLE model_versions ADD COLUMN run_id VARCHAR;         -- the Dagster run that trained it
-- What a model says of the gold posts; one row a model version and post. Paired tests are made of these.
CREATE TABLE gold_scores (
    model_version  VARCHAR   NOT NULL,
    thread_id      BIGINT    NOT NULL,
    p_bearish      DOUBLE    NOT NULL,
    p_neutral      DOUBLE    NOT NULL,
    p_bullish      DOUBLE    NOT NULL,
    scored_at      TIMESTAMP NOT NULL
);
-- Figures on gold; one row a model version and gold version, the newest measurement.
CREATE TABLE model_evaluations (
    model_version   VARCHAR   NOT NULL,
    gold_version    VARCHAR   NOT NULL,  -- hash of the gold posts and their labels
    n               INTEGER   NOT NULL,
    accuracy        DOUBLE    NOT NULL,
    accuracy_lo     DOUBLE    NOT NULL,  -- 95 % intervals
    accuracy_hi     DOUBLE    NOT NULL,
    macro_f1        DOUBLE    NOT NULL,
    macro_f1_lo     DOUBLE    NOT NULL,
    macro_f1_hi     DOUBLE    NOT NULL,
    recall_bearish  DOUBLE,
    recall_neutral  DOUBLE,
    recall_bullish  DOUBLE,
    ece             DOUBLE    NOT NULL,
    log_loss        DOUBLE    NOT NULL,
    confusion       JSON      NOT NULL,  -- rows: truth, columns: said
    evaluated_at    TIMESTAMP NOT NULL
);
-- Each time that a model was weighed against the champion, by the gate or by a person; append-only.
CREATE TABLE model_decisions (
    model_version     VARCHAR   NOT NULL,
    champion          VARCHAR,            -- whom it was weighed against; NULL: nobody
    gold_version      VARCHAR   NOT NULL,
    promoted          BOOLEAN   NOT NULL,
    decided_by        VARCHAR   NOT NULL,  -- 'gate', or who overrode it
    reason            VARCHAR   NOT NULL,
    mcnemar_p         DOUBLE,
    bootstrap_p       DOUBLE,
    difference        DOUBLE,             -- of the gate's figure, and its 95 % interval
    difference_lo     DOUBLE,
    difference_hi     DOUBLE,
    decided_at        TIMESTAMP NOT NULL
);

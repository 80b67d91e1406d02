-- What a labeller saw and how the post came to him; the label ledger has the same columns.
ALTER TABLE training_labels ADD COLUMN text_snapshot VARCHAR;
ALTER TABLE training_labels ADD COLUMN image_url_snapshot VARCHAR;
ALTER TABLE training_labels ADD COLUMN origin VARCHAR;
ALTER TABLE training_labels ADD COLUMN posted_at TIMESTAMP;
ALTER TABLE training_labels ADD COLUMN subject_snapshot VARCHAR;
ALTER TABLE training_labels ADD COLUMN flag VARCHAR;          -- 'irony', 'not crypto', 'unreadable' or 'illegal'
ALTER TABLE training_labels ADD COLUMN session VARCHAR;
ALTER TABLE training_labels ADD COLUMN stratum VARCHAR;       -- why the post was asked
ALTER TABLE training_labels ADD COLUMN probability DOUBLE;    -- with which it was drawn
ALTER TABLE training_labels ADD COLUMN suggestion VARCHAR;    -- the class that was suggested to the labeller

-- One row a post, provider, model, endpoint and prompt version: the newest answer that counts.
ALTER TABLE auto_labels ADD COLUMN endpoint VARCHAR;
ALTER TABLE auto_labels ADD COLUMN request_key VARCHAR;        -- of the auto-label ledger; equal posts share one
ALTER TABLE auto_labels ADD COLUMN model_returned VARCHAR;     -- the model that says it answered
ALTER TABLE auto_labels ADD COLUMN confidence_source VARCHAR;  -- 'decisions', 'logprobs' or NULL: no probabilities
ALTER TABLE auto_labels ADD COLUMN image_used BOOLEAN;
ALTER TABLE auto_labels ADD COLUMN error VARCHAR;              -- why there is no label

-- How far the labels of a version can be trusted, as measured on gold.
CREATE TABLE auto_label_trust (
    provider         VARCHAR   NOT NULL,
    model            VARCHAR   NOT NULL,
    endpoint         VARCHAR   NOT NULL,
    prompt_version   VARCHAR   NOT NULL,
    n                INTEGER   NOT NULL,  -- gold posts with a label of it
    accuracy         DOUBLE,
    accuracy_lo      DOUBLE,              -- 95 % interval
    accuracy_hi      DOUBLE,
    macro_f1         DOUBLE,
    recall_bearish   DOUBLE,
    recall_neutral   DOUBLE,
    recall_bullish   DOUBLE,
    kappa            DOUBLE,              -- Cohen's, with people
    kappa_lo         DOUBLE,
    kappa_hi         DOUBLE,
    ece              DOUBLE,              -- NULL: it gives no probabilities
    block_rate       DOUBLE,              -- share of gold posts refused or blocked
    usd_per_1000     DOUBLE,
    trusted          BOOLEAN   NOT NULL,  -- may train
    reason           VARCHAR,             -- why not
    measured_at      TIMESTAMP NOT NULL
);

-- The frozen test set; the label ledger has it too, for it must outlive the database.
CREATE TABLE gold_split (
    thread_id  BIGINT    NOT NULL,
    period     VARCHAR   NOT NULL,  -- the labelled UTC month that it was drawn from, as 2025-10
    frozen_at  TIMESTAMP NOT NULL
);

-- The posts to label next, in this order; written anew as a whole.
CREATE TABLE label_queue (
    position     INTEGER   NOT NULL,  -- from 1
    thread_id    BIGINT    NOT NULL,
    stratum      VARCHAR   NOT NULL,  -- 'uncertain', 'random', 'recent', 'relabel' or 'disputed'
    probability  DOUBLE,              -- with which the post was drawn; NULL: chosen, not drawn
    margin       DOUBLE,              -- between its two likeliest classes
    built_at     TIMESTAMP NOT NULL
);

-- Data sets for training, each known by the hash of its content.
CREATE TABLE dataset_versions (
    dataset_version  VARCHAR   NOT NULL,
    kind             VARCHAR   NOT NULL,  -- 'sharegpt'
    path             VARCHAR   NOT NULL,  -- relative to the home
    train_rows       INTEGER   NOT NULL,
    validation_rows  INTEGER   NOT NULL,
    classes          JSON      NOT NULL,  -- rows of train and validation by class
    created_at       TIMESTAMP NOT NULL
);

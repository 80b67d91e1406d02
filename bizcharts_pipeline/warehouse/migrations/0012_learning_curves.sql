-- What more labels add to a text model; one row a measurement. Append-only.
CREATE TABLE learning_curves (
    dataset_version         VARCHAR   NOT NULL,  -- the posts that were learned from
    kind                    VARCHAR   NOT NULL,  -- of the model
    recipe                  VARCHAR   NOT NULL,  -- hash of what it is trained by
    labels                  INTEGER   NOT NULL,  -- posts of the data set
    repeats                 INTEGER   NOT NULL,  -- of the cross-validation
    points                  JSON      NOT NULL,  -- [{labels, accuracy, macro_f1}], on held-out posts
    accuracy_doubled        DOUBLE    NOT NULL,  -- expected gain by twice the labels
    accuracy_sd             DOUBLE    NOT NULL,  -- of the gain, by bootstrap
    macro_f1_doubled        DOUBLE    NOT NULL,
    macro_f1_sd             DOUBLE    NOT NULL,
    computed_at             TIMESTAMP NOT NULL
);

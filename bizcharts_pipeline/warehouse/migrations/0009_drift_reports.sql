-- Whether the champion has gone stale; one row a day, model version and measure, and one for the verdict. Append-only.
CREATE TABLE drift_reports (
    day            DATE      NOT NULL,  -- UTC; the last day of the week that was judged
    model_version  VARCHAR   NOT NULL,
    measure        VARCHAR   NOT NULL,  -- 'verdict': what the others add up to
    value          DOUBLE,              -- NULL: not measured, details say why
    lo             DOUBLE,              -- 95 % interval of the value, where there is one
    hi             DOUBLE,
    reference      DOUBLE,              -- what was expected
    threshold      DOUBLE,              -- beyond it the measure counts as exceeded
    alarm          BOOLEAN   NOT NULL,  -- exceeded; of the verdict: an alarm stands
    n              INTEGER   NOT NULL,  -- posts, or labels
    details        JSON      NOT NULL,
    computed_at    TIMESTAMP NOT NULL
);

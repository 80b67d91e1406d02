-- The calibration error that a calibrated model has by chance on as many gold posts, in 95 % of cases at most.
ALTER TABLE model_evaluations ADD COLUMN ece_if_calibrated DOUBLE;  -- NULL: not recorded

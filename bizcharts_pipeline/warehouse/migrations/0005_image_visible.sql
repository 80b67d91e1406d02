-- Whether the image was shown uncovered before the label was given; NULL: the post has none, or it is not known.
ALTER TABLE training_labels ADD COLUMN image_visible BOOLEAN;

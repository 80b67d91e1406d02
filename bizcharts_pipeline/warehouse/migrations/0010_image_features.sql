-- Features of pictures, once for each content: what models read of a picture, computed without a GPU.
CREATE TABLE image_features (
    sha256 VARCHAR NOT NULL PRIMARY KEY,
    extractor VARCHAR NOT NULL,   -- version of the program that computed them, and of the text recognition
    kind VARCHAR,                 -- 'chart', 'screenshot', 'meme', 'photo'; NULL: see problem
    perceptual_hash VARCHAR,      -- 16 hexadecimal digits; NULL: nearly a single tone
    green DOUBLE,                 -- share of the pixels
    red DOUBLE,
    colours DOUBLE[],             -- statistics of the colours, in the extractor's order
    ocr_text VARCHAR,             -- NULL: no text recognition; '': no text found
    vector BLOB,                  -- last hidden layer of the packaged network, float16
    problem VARCHAR,              -- why there are no features; it is not tried again by the same extractor
    computed_at TIMESTAMP NOT NULL
);

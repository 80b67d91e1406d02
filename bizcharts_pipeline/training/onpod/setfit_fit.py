"""Tunes a sentence encoder on pairs of posts, alike in stance or not: SetFit's first half.

Tunstall et al., "Efficient Few-Shot Learning Without Prompts" (2022). Of the library only the tuning is used: its own
head would be kept as a pickle. It imports nothing of its neighbours, so it works as a file beside a script and as a
part of the package.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16  # pairs
LEARNING_RATE = 2e-5


def tune(base: Path, texts: Sequence[str], labels: Sequence[int], *, tokens: int, pairs: int, seed: int) -> Any:
    """Return the encoder (a SentenceTransformer) after SetFit's contrastive tuning on ``pairs`` pairs at most, of each
    text ``tokens`` read."""
    import torch
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments, logging
    from sklearn.linear_model import LogisticRegression
    from transformers import PrinterCallback, ProgressCallback

    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Several threads wait for each other by spinning: beside any other busy process a step took 5 to 10 times as long.
    # One thread is never much slower, and its sums do not depend on the number of cores.
    torch.set_num_threads(1)
    body = SentenceTransformer(str(base), device=device, local_files_only=True)
    body.max_seq_length = tokens
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()  # the library's draw of pairs has one seed
    with tempfile.TemporaryDirectory() as unused:
        arguments = TrainingArguments(
            output_dir=unused,
            batch_size=BATCH,
            max_steps=max(1, pairs // BATCH),
            body_learning_rate=LEARNING_RATE,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            logging_first_step=False,
            report_to="none",
            show_progress_bar=False,
        )
        logging.set_verbosity_error()
        trainer = Trainer(SetFitModel(body, LogisticRegression()), arguments)
        for talkative in (ProgressCallback, PrinterCallback):
            trainer.st_trainer.remove_callback(talkative)
        trainer.train_embeddings([texts[i] for i in order], [labels[i] for i in order])
    return body


def weights_of(body: Any) -> dict[str, Any]:
    """Return an encoder's weights as arrays, by the names that Hugging Face's BertModel has for them."""
    return {
        name.removeprefix("0.").removeprefix("auto_model.").removeprefix("model."): tensor.detach().cpu().numpy()
        for name, tensor in body.state_dict().items()
    }

"""Contrastive tuning of a sentence encoder on pairs of posts with equal or different stance: the first half of SetFit.

Tunstall et al., "Efficient Few-Shot Learning Without Prompts" (2022). Only the library's tuning is used, because it
saves its own head as a pickle. This module imports no other module of this folder, so it works as a file next to a
script and as a part of the package.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16  # pairs
LEARNING_RATE = 2e-5


def tune(base: Path, texts: Sequence[str], labels: Sequence[int], *, tokens: int, pairs: int, seed: int) -> Any:
    """Train a sentence encoder contrastively on at most ``pairs`` pairs, reading ``tokens`` per text; return it (a
    SentenceTransformer)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments, logging
    from sklearn.linear_model import LogisticRegression
    from transformers import PrinterCallback, ProgressCallback

    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Several threads wait for each other by spinning: next to another busy process a step took 5 to 10 times as long.
    # One thread is never much slower, and its sums do not depend on the number of cores.
    torch.set_num_threads(1)
    body = SentenceTransformer(str(base), device=device, local_files_only=True)
    body.max_seq_length = tokens
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()  # the library samples pairs with a fixed seed
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
    """Return the weights of an encoder trained by SetFit as arrays, by their names in Hugging Face's BertModel."""
    return {
        name.removeprefix("0.").removeprefix("auto_model.").removeprefix("model."): tensor.detach().cpu().numpy()
        for name, tensor in body.state_dict().items()
    }

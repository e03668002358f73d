"""Serves a classifier with LitServe and Transformers 5: litserve_server.py FOLDER PORT THREADS, for serving.py."""

import sys
from typing import Any

import litserve as ls
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH_SIZE, SECONDS = 64, 0.002  # as many as there are clients; our server waits as long


class Classifier(ls.LitAPI):
    """Answers {"inputs": text} with {"label", "score"}; texts that arrive together are padded to the longest one."""

    def setup(self, device: str) -> None:
        """Load the model."""
        torch.set_num_threads(int(sys.argv[3]))
        self.tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        self.model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()

    def decode_request(self, request, **kwargs: Any) -> str:  # LitServe reads a type here as that of its own request
        """Return the text of a request."""
        return request["inputs"]

    def predict(self, texts: list[str], **kwargs: Any) -> list[tuple[int, float]]:
        """Return the best label of each text, and its score."""
        encoded = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            scores = self.model(**encoded).logits.softmax(-1)
        return list(zip(scores.argmax(-1).tolist(), scores.amax(-1).tolist(), strict=True))

    def encode_response(self, output: tuple[int, float], **kwargs: Any) -> dict[str, Any]:
        """Return the answer."""
        return {"label": self.model.config.id2label[output[0]], "score": output[1]}


if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH_SIZE, batch_timeout=SECONDS)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

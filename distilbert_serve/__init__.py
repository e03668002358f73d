"""Answers the tasks of DistilBERT over HTTP: `distilbert serve`.

`models` holds the models by name, `batching` joins the requests of many clients into packed batches, `answering` leads
a request through both, and `app` puts the routes together. Each module in `routes` speaks one protocol.
"""

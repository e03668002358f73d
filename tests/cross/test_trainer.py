"""The Trainer of Transformers 5 trains, measures, saves, reloads and resumes our models."""

from __future__ import annotations

import pytest

from support import trainer_checks
from support.checkpoints import HEADS_WITH_LOSS

pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_every_head(head, tmp_path):
    trainer_checks.check_head(head, tmp_path)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_packed_rows(head, tmp_path):
    trainer_checks.check_packing(head, tmp_path)


def test_random_masks(tmp_path):
    trainer_checks.check_masking_collator(tmp_path)


def test_a_users_own_model(tmp_path):
    trainer_checks.check_own_model(tmp_path)

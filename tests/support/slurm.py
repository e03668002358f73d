"""Stand-ins for SLURM's commands, so that a file for `sbatch` runs on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# As many copies as the job has tasks, each with the variables of a task.
SRUN = """#!/bin/bash
pids=()
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_STEP_NODELIST=localhost SLURM_STEP_NUM_TASKS=$SLURM_NTASKS "$@" &
    pids+=($!)
done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit $code
"""
# All nodes are this machine. Requeueing leaves a note.
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then for ((i = 0; i < SLURM_NNODES; i++)); do echo localhost; done; fi
if [[ $1 == requeue ]]; then echo "$2" > requeued; fi
"""
COMMANDS = {
    "scontrol": SCONTROL,
    "distilbert": f'#!/bin/bash\nexec {sys.executable} -m distilbert_cli "$@"\n',
    "torchrun": f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n',
}


def job(folder: Path, job_id: int, srun: str = SRUN, **variables: str) -> dict[str, str]:
    """Write the commands into a folder, and return the environment of a job of two nodes with one task each."""
    for name, content in {**COMMANDS, "srun": srun}.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    of_job = {"SLURM_JOB_ID": str(job_id), "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_NTASKS": "2"}
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **of_job, **variables}

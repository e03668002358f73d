#!/bin/bash
# Train with JAX on several machines of a SLURM cluster. The arguments are those of the command `distilbert`:
#
#     sbatch examples/launch/slurm_jax.sh finetune --task sequence-classification --model ./model \
#         --train train.tsv --eval dev.tsv --output ./new
#
# There is a task for each GPU; `finetune` and `distill` read SLURM's variables and join the tasks. All nodes must see
# the folders. Two minutes before the end of its time the job puts itself into the queue again, and then goes on with
# --resume.
#SBATCH --job-name=distilbert
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail

# The folder of --output, and whether a run of this job has begun there.
words=("$@")
output=""
for ((i = 0; i < $#; i++)); do
    [[ ${words[i]} == --output ]] && output=${words[i + 1]:-}
    [[ ${words[i]} == --output=* ]] && output=${words[i]#--output=}
done
if ((${SLURM_RESTART_COUNT:-0} > 0)) && [[ -f $output/training/settings.json ]]; then
    words+=(--resume)
fi
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

srun distilbert "${words[@]}" --backend flax &
wait $!

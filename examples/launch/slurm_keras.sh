#!/bin/bash
# Train with Keras on several machines of a SLURM cluster. The arguments are those of the command `distilbert`:
#
#     sbatch examples/launch/slurm_keras.sh finetune --task sequence-classification --model ./model \
#         --train train.tsv --eval dev.tsv --output ./new
#
# One task on each node computes on all GPUs of the node, and TF_CONFIG tells it where the others are. All nodes must see
# the folders. Two minutes before the end of its time the job puts itself into the queue again, and then goes on with
# --resume.
#SBATCH --job-name=distilbert
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
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

port=$((20000 + SLURM_JOB_ID % 10000))
workers=""  # "node1:port", "node2:port + 1", ...
for host in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    workers+="${workers:+, }\"$host:$((port++))\""
done
export WORKERS=$workers
# shellcheck disable=SC2016  # each task has its own SLURM_PROCID
srun bash -c '
    export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec distilbert "$@"' distilbert "${words[@]}" --backend tf &
wait $!

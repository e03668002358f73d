#!/bin/bash
# Train with PyTorch on several machines of a SLURM cluster. The arguments are those of the command `distilbert`:
#
#     sbatch examples/launch/slurm_torchrun.sh finetune --task sequence-classification --model ./model \
#         --train train.tsv --eval dev.tsv --output ./new
#
# One task on each node starts torchrun, which starts a process for each GPU. All nodes must see the folders. Two
# minutes before the end of its time the job puts itself into the queue again, and then goes on with --resume.
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

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "${hosts%%$'\n'*}:$((20000 + SLURM_JOB_ID % 10000))" \
    -m distilbert_cli "${words[@]}" --backend pt &
wait $!

#!/bin/bash
# The studies for which one GPU is at hand, several jobs at a time on it; runs and store go to the
# working folder, and what is finished there is skipped:
#   experiments/on_one_gpu.sh GLUE_FOLDER ENCODER_FOLDER
set -u
failed=0
glue=$1 encoder=$2
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

study() { # JOBS_AT_A_TIME OVERRIDE...
  python3 -m distill_lab train -m "hydra.launcher.n_jobs=$1" "teacher.model=$encoder" \
    teacher.cache_max_gb=0.5 "${@:2}"
}

study 8 experiments=objectives_glue task=glue/sst2 "task.data_dir=$glue/SST-2" \
  trainer.max_epochs=1 teacher.epochs=2 > sst2.log 2>&1 &
sst2=$!
study 10 experiments=objectives_glue task=glue/rte "task.data_dir=$glue/RTE" || failed=1
study 10 experiments=objectives_glue task=glue/mrpc "task.data_dir=$glue/MRPC" || failed=1
study 10 experiments=initialisation "task.data_dir=$glue/CoLA" || failed=1
wait "$sst2" || failed=1
exit "$failed"

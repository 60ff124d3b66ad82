// All that a translated source may name, compiled once.
#pragma once
#include "cuda.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "math_constants.h"
#include "mma.h"
#include "module.h"
#include "ptx.h"
#include "sm_61_intrinsics.h"

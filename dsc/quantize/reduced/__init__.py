"""Models of half precision: tensors and weights in float16 or bfloat16, with islands of float32."""

/* A model that is loaded: what `dsc_model` points to. */
#pragma once

#include <memory>
#include <string>

#include "description.h"
#include "device.h"
#include "library.h"
#include "mapping.h"
#include "session.h"

struct dsc_model {
 public:
  /* The bundle in a folder. Throws Failure. */
  dsc_model(const std::string &folder, int threads);

  const dsc::Description &description() const { return description_; }
  int threads() const { return threads_; }
  /* As `dsc_run` has it. Throws Failure. */
  void run(const dsc_tensor *inputs, size_t input_count, dsc_tensor *outputs, size_t output_count);

 private:
  dsc::Description description_;
  int threads_;
  dsc::Mapping weights_;
  std::unique_ptr<dsc::Device> device_;
  dsc::Library library_;
  dsc::SessionPool sessions_; /* goes first: it refers to the others */
};

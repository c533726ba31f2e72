// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

/// How large the weights of a model are that is trained from nothing.
namespace tithe {

/// Standard deviations of a model that is trained from nothing. Biases start at 0 and norms at 1.
struct Initialization {
  /// Matrices: this over √fan_in.
  double matrix_gain = 0.7;
  /// The token embeddings, and an untied head.
  double embedding = 0.02;
  /// The weight of the last norm.
  double final_norm = 1.0;
};

}  // namespace tithe

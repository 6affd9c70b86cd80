// What the rounding of keys to fewer bits loses, for the bound of a rough score (certified_scan.h). Thread-compatible.
#pragma once

#include <cstdint>

#include "server/index/scan_kernels.h"
#include "server/similarity/split_vector.h"

namespace evoke {

// Upper bounds over vectors: of the norm, and of the distance to what each is rounded to.
class KeyRounding {
 public:
  // Effect: the bounds hold for this vector too.
  void Cover(SplitVector key, uint32_t dim);
  void Cover(const KeyRounding& other);
  double norm() const { return norm_; }
  double lost(Rounding rounding) const {
    return rounding == Rounding::kNone ? 0 : rounding == Rounding::kBfloat16 ? bfloat16_ : int8_;
  }

 private:
  double norm_ = 0;
  double bfloat16_ = 0;
  double int8_ = 0;
};

}  // namespace evoke

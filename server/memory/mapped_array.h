// A fixed array of zeros whose pages cost nothing until they are written.
//
// Large arrays come from the kernel directly, so a memory that is created for many slots and holds few takes
// little RAM; small ones come from the heap. Movable, not copyable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace evoke {

namespace memory_internal {
// Null when there is not enough memory. `huge_pages`: advise the kernel to use them.
void* MapZeros(size_t bytes, bool huge_pages);
void Unmap(void* data, size_t bytes);
// All zeros again, with the pages given back where they came from the kernel.
void Rezero(void* data, size_t bytes);
}  // namespace memory_internal

template <typename T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  MappedArray() = default;
  // Test with ok(). size 0 is legal.
  explicit MappedArray(size_t size, bool huge_pages = false)
      : size_(size),
        data_(size == 0 ? nullptr
                        : static_cast<T*>(memory_internal::MapZeros(size * sizeof(T), huge_pages))) {}
  MappedArray(MappedArray&& o) noexcept
      : size_(std::exchange(o.size_, 0)), data_(std::exchange(o.data_, nullptr)) {}
  MappedArray& operator=(MappedArray&& o) noexcept {
    std::swap(size_, o.size_);
    std::swap(data_, o.data_);
    return *this;
  }
  ~MappedArray() {
    if (data_ != nullptr) memory_internal::Unmap(data_, bytes());
  }

  bool ok() const { return data_ != nullptr || size_ == 0; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  void Rezero() {
    if (data_ != nullptr) memory_internal::Rezero(data_, bytes());
  }

 private:
  size_t size_ = 0;
  T* data_ = nullptr;
};

}  // namespace evoke

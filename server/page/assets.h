// The files of html/, as they were when this was built: embed.cmake makes the table.
#pragma once

#include <string_view>

namespace evoke {

struct Asset {
  std::string_view name;  // "main.js"
  std::string_view type;  // Content-Type
  std::string_view etag;  // with its quotes; another one for other bytes
  std::string_view bytes;
};

// nullptr: there is none of this name.
const Asset* FindAsset(std::string_view name);

}  // namespace evoke

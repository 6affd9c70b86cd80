# Writes OUT, a source that holds the files FILES as bytes: cmake -DOUT=assets.cc -DFILES=a;b -P embed.cmake
set(types_html "text/html\\; charset=utf-8")
set(types_css "text/css\\; charset=utf-8")
set(types_js "text/javascript\\; charset=utf-8")
set(types_svg "image/svg+xml")

set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS FILES)
  file(READ "${file}" hex HEX)
  file(SHA256 "${file}" digest)
  string(SUBSTRING "${digest}" 0 32 etag)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  get_filename_component(name "${file}" NAME)
  get_filename_component(suffix "${file}" LAST_EXT)
  string(SUBSTRING "${suffix}" 1 -1 suffix)
  if(NOT DEFINED types_${suffix})
    message(FATAL_ERROR "${file}: no Content-Type is known for .${suffix}")
  endif()
  string(APPEND arrays "constexpr unsigned char kBytes${number}[] = {${bytes}};\n")
  string(APPEND rows "    {\"${name}\", \"${types_${suffix}}\", \"\\\"${etag}\\\"\",\n"
                     "     {reinterpret_cast<const char*>(kBytes${number}), ${size}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
string(REPLACE "\\;" ";" rows "${rows}")

file(WRITE "${OUT}" "// Made by embed.cmake.
#include \"server/page/assets.h\"

namespace evoke {
namespace {

${arrays}
const Asset kAssets[] = {
${rows}};

}  // namespace

const Asset* FindAsset(std::string_view name) {
  for (const Asset& asset : kAssets) {
    if (asset.name == name) return &asset;
  }
  return nullptr;
}

}  // namespace evoke
")

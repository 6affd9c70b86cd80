# The few functions by which every folder declares its target.

add_library(evoke_options INTERFACE)
# Contraction would change the bits of the canonical similarity; fast-math is never used.
function(evoke_add_options)  # for the compilers of C and C++; nvcc has none of these
  target_compile_options(evoke_options INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${ARGN}>")
endfunction()
evoke_add_options(-ffp-contract=off -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
if(EVOKE_GPU)
  # --fmad=false: the same for what a device computes. What is to be fused says so (__fmaf_rn).
  target_compile_options(evoke_options INTERFACE
                         "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;-Xcompiler=-ffp-contract=off;-Wno-deprecated-gpu-targets>")
  if(EVOKE_WERROR)
    target_compile_options(evoke_options INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings>")
  endif()
endif()
target_include_directories(evoke_options INTERFACE ${PROJECT_SOURCE_DIR})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # GCC 12 warns at -O3 about its own std::string (GCC bug 105651)
  evoke_add_options(-Wno-restrict)
endif()
if(EVOKE_WERROR)
  evoke_add_options(-Werror)
endif()
if(EVOKE_NATIVE)
  evoke_add_options(-march=native)
endif()
if(EVOKE_SANITIZE)
  # GCC's manual: sanitizers make it see variables that may be uninitialised where none are.
  add_compile_options(-fsanitize=${EVOKE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
                      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${EVOKE_SANITIZE})
endif()

# evoke_library(NAME evoke_x SOURCES a.cc DEPS evoke_y absl::status)
function(evoke_library)
  cmake_parse_arguments(A "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_library(${A_NAME} STATIC ${A_SOURCES})
  # Our warnings and options are ours: who finds an installed library gets none of them.
  target_link_libraries(${A_NAME} PUBLIC $<BUILD_INTERFACE:evoke_options> ${A_DEPS})
endfunction()

# evoke_binary(NAME evoked SOURCES main.cc DEPS evoke_server): lands in <build>/bin.
function(evoke_binary)
  cmake_parse_arguments(A "" "NAME" "SOURCES;DEPS" ${ARGN})
  add_executable(${A_NAME} ${A_SOURCES})
  target_link_libraries(${A_NAME} PRIVATE evoke_options ${A_DEPS})
  set_target_properties(${A_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# The headers of nearly every test, read once: precompiled headers can be shared by targets that are compiled alike, which
# evoke_compile_as_test sees to. (-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON does without.)
function(evoke_compile_as_test NAME)
  # A test spends its time in libraries; optimised further, its own code takes a fifth longer to compile.
  target_compile_options(${NAME} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${NAME} PRIVATE evoke_options GTest::gmock GTest::gtest_main OpenMP::OpenMP_CXX)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # -fpch-preprocess: or ccache does not see what a precompiled header is made of. GCC 12 warns at -O1 about its own std::string.
    target_compile_options(${NAME} PRIVATE -fpch-preprocess -Wno-array-bounds)
  endif()
endfunction()

function(evoke_test_headers)
  set(empty ${PROJECT_BINARY_DIR}/test_headers.cc)
  file(CONFIGURE OUTPUT ${empty} CONTENT "")
  add_executable(evoke_test_headers EXCLUDE_FROM_ALL ${empty})
  evoke_compile_as_test(evoke_test_headers)
  target_precompile_headers(evoke_test_headers PRIVATE
    <gmock/gmock.h> <gtest/gtest.h> <algorithm> <atomic> <cmath> <filesystem> <fstream> <functional> <map> <memory> <optional>
    <random> <set> <sstream> <string> <thread> <utility> <vector>
    <absl/container/flat_hash_map.h> <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/types/span.h>)
endfunction()

# evoke_add_test(NAME x_test KIND unit SOURCES x_test.cc LINK evoke_x [TIMEOUT seconds]): a GoogleTest binary,
# one CTest test with label KIND; it leaves its counts in <build>/test-results/NAME.xml.
function(evoke_add_test)
  cmake_parse_arguments(A "" "NAME;KIND;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  add_executable(${A_NAME} ${A_SOURCES})
  evoke_compile_as_test(${A_NAME})
  target_link_libraries(${A_NAME} PRIVATE ${A_LINK})
  target_precompile_headers(${A_NAME} REUSE_FROM evoke_test_headers)
  set_target_properties(${A_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${A_NAME}
           COMMAND ${A_NAME} --gtest_output=xml:${PROJECT_BINARY_DIR}/test-results/${A_NAME}.xml)
  set_tests_properties(${A_NAME} PROPERTIES LABELS "${A_KIND}" TIMEOUT ${A_TIMEOUT})
  if(EVOKE_SANITIZE STREQUAL "thread")  # which is ten times slower
    math(EXPR patience "4 * ${A_TIMEOUT}")
    set_tests_properties(${A_NAME} PROPERTIES TIMEOUT ${patience}
                         ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
  endif()
endfunction()

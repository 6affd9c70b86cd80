# Debian packages, by `cpack` in the build folder (deploy/release.sh does it all):
#
#   evoke-server   evoked, evoke-inspect, the unit, its user, /etc/evoke/evoked.toml
#   evoke-tools    evokectl, evoke-load
#   python3-evoke  the Python client
#   libevoke-dev   the C++ client as a CMake package
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR Evoke)
set(CPACK_PACKAGE_CONTACT "Evoke <evoke@example.org>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
# Names of functions stay in: a crash prints its stack with them, and a release has no debug information to lose.
set(CPACK_STRIP_FILES OFF)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL server service tools python dev)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_COMPONENT_SERVER_GROUP server)
set(CPACK_COMPONENT_SERVICE_GROUP server)
set(CPACK_COMPONENT_TOOLS_GROUP tools)
set(CPACK_COMPONENT_PYTHON_GROUP python)
set(CPACK_COMPONENT_DEV_GROUP dev)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(scripts ${PROJECT_SOURCE_DIR}/deploy/debian)

set(CPACK_DEBIAN_SERVER_PACKAGE_NAME evoke-server)
set(CPACK_DEBIAN_SERVER_DESCRIPTION "memory server for neural networks
Owns life-long memories of keys and values that networks query and train over
gRPC; durable, applied exactly once, repeatable bit by bit.")
set(CPACK_DEBIAN_SERVER_PACKAGE_SHLIBDEPS ON)
# The variant that the search structure faiss_flat is written for (deploy/packages.sh); any would satisfy the linker.
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "libopenblas0-openmp, passwd")
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS evoke-tools)
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA ${scripts}/conffiles ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm)

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME evoke-tools)
set(CPACK_DEBIAN_TOOLS_DESCRIPTION "command line and load generator of the Evoke memory server
evokectl looks after a server and its memories; evoke-load measures latencies
and checks that a server keeps its promises meanwhile.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)

set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-evoke)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON_DESCRIPTION "Python client of the Evoke memory server
NumPy and PyTorch in and out, retried exactly once; asyncio too.")
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS
    "python3 (>= 3.9), python3-grpcio (>= 1.51), python3-protobuf (>= 3.20), python3-numpy")
set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA ${scripts}/python/postinst ${scripts}/python/prerm)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SUGGESTS "python3-torch, python3-tqdm, evoke-server")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libevoke-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_DESCRIPTION "C++ client of the Evoke memory server
A static library and a CMake package: find_package(evoke), evoke::client.")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc, libabsl-dev, libssl-dev")

set(changelog ${PROJECT_BINARY_DIR}/documents/changelog.gz)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/documents)
add_custom_command(OUTPUT ${changelog} COMMAND sh -c "gzip -9nc '${PROJECT_SOURCE_DIR}/CHANGELOG.md' > '${changelog}'"
                   DEPENDS ${PROJECT_SOURCE_DIR}/CHANGELOG.md VERBATIM)
add_custom_target(evoke_changelog ALL DEPENDS ${changelog})
foreach(component server tools python dev)
  string(TOUPPER ${component} upper)
  set(documents ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/debian/copyright ${changelog} DESTINATION ${documents} COMPONENT ${component} EXCLUDE_FROM_ALL)
endforeach()

# From the wheel, so that there is one way to build the client.
install(CODE "
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/deploy/wheels.sh ${PROJECT_BINARY_DIR}/wheel
                  COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB wheel ${PROJECT_BINARY_DIR}/wheel/*-none-any.whl)
  file(ARCHIVE_EXTRACT INPUT \${wheel} DESTINATION \$ENV{DESTDIR}/usr/lib/python3/dist-packages)"
  COMPONENT python EXCLUDE_FROM_ALL)

include(CPack)

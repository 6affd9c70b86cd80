# What `cmake --install` lays down, by component; packages are made of the same components (package.cmake).
#
#   server   evoked, and evoke-inspect, which reads what it leaves on the disk
#   service  the systemd unit, its user and /etc/evoke: a system's, not of a prefix, so only when it is named
#   tools    evokectl, evoke-load
#   dev      the C++ client as a CMake package (find_package(evoke), evoke::client), and the .proto files
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # who installs a component need not have built the tests
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS evoked evoke-inspect RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
install(TARGETS evokectl evoke-load RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)

install(FILES deploy/systemd/evoked.service DESTINATION /usr/lib/systemd/system COMPONENT service EXCLUDE_FROM_ALL)
install(FILES deploy/systemd/evoke.sysusers DESTINATION /usr/lib/sysusers.d RENAME evoke.conf
        COMPONENT service EXCLUDE_FROM_ALL)
install(FILES deploy/evoked.toml DESTINATION /etc/evoke COMPONENT service EXCLUDE_FROM_ALL)

# Headers that a caller includes, and no other: none of them includes protobuf or gRPC, which a program may have in other
# versions than the one it is linked with here.
set(EVOKE_PUBLIC_HEADERS client client_options clock error_details id128 memory names requests request_scope retry_policy snapshots
                         train_pipeline transfers types)
list(TRANSFORM EVOKE_PUBLIC_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/client/cpp/evoke/)
list(TRANSFORM EVOKE_PUBLIC_HEADERS APPEND .h)
install(FILES ${EVOKE_PUBLIC_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/evoke COMPONENT dev)
# Of the protos only our own: google/rpc and grpc/health are other people's, whose packages bring their headers.
install(DIRECTORY ${PROJECT_BINARY_DIR}/proto/evoke/v1 DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/evoke COMPONENT dev
        FILES_MATCHING PATTERN "*.pb.h")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/evoke DESTINATION ${CMAKE_INSTALL_DATADIR}/evoke/proto COMPONENT dev
        FILES_MATCHING PATTERN "*.proto")

set(EVOKE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/evoke)
set_target_properties(evoke_client PROPERTIES EXPORT_NAME client)
set_target_properties(evoke_proto PROPERTIES EXPORT_NAME proto)
set_target_properties(evoke_messages PROPERTIES EXPORT_NAME messages)
install(TARGETS evoke_client evoke_proto evoke_messages EXPORT evokeTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT evokeTargets NAMESPACE evoke:: DESTINATION ${EVOKE_CMAKE_DIR} COMPONENT dev)
set(EVOKE_INSTALLED_PROTO_DIR ${CMAKE_INSTALL_DATADIR}/evoke/proto)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/evokeConfig.cmake.in ${PROJECT_BINARY_DIR}/evokeConfig.cmake
                              INSTALL_DESTINATION ${EVOKE_CMAKE_DIR} PATH_VARS EVOKE_INSTALLED_PROTO_DIR)
# Before 1.0 a minor version may break callers.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/evokeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/evokeConfig.cmake ${PROJECT_BINARY_DIR}/evokeConfigVersion.cmake
        DESTINATION ${EVOKE_CMAKE_DIR} COMPONENT dev)

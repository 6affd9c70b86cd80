# Man pages and shell completion, made from --help of the programs that were just built: <build>/documents.
#
# Part of every build that is to be installed. A sanitized one is not, and its programs are slow to ask.
find_program(EVOKE_DOCUMENTS_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(EVOKE_SANITIZE OR NOT EVOKE_DOCUMENTS_PYTHON)
  return()
endif()
set(documents)
set(maker ${PROJECT_SOURCE_DIR}/deploy/command_docs.py)
set(out ${PROJECT_BINARY_DIR}/documents)
file(MAKE_DIRECTORY ${out}/bash ${out}/zsh)
foreach(page evoked.8 evoke-inspect.8 evokectl.1 evoke-load.1)
  string(REGEX REPLACE "\\.(.)$" "" program ${page})
  string(REGEX REPLACE ".*\\." "" section ${page})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/deploy/man/${page}.in)
  file(READ ${PROJECT_SOURCE_DIR}/deploy/man/${page}.in template)
  string(REPLACE "@VERSION@" "${PROJECT_VERSION}" template "${template}")
  file(WRITE ${out}/${page}.in "${template}")
  add_custom_command(
    OUTPUT ${out}/${page}.gz ${out}/bash/${program} ${out}/zsh/_${program}
    COMMAND ${EVOKE_DOCUMENTS_PYTHON} ${maker} ${out}/${page} man $<TARGET_FILE:${program}> ${out}/${page}.in
    COMMAND gzip -9 --no-name --force ${out}/${page}
    COMMAND ${EVOKE_DOCUMENTS_PYTHON} ${maker} ${out}/bash/${program} bash $<TARGET_FILE:${program}>
    COMMAND ${EVOKE_DOCUMENTS_PYTHON} ${maker} ${out}/zsh/_${program} zsh $<TARGET_FILE:${program}>
    DEPENDS ${program} ${maker} ${PROJECT_SOURCE_DIR}/deploy/man/${page}.in
    VERBATIM)
  list(APPEND documents ${out}/${page}.gz)
  if(program MATCHES "^evoked$|inspect")
    set(component server)
  else()
    set(component tools)
  endif()
  install(FILES ${out}/${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
  install(FILES ${out}/bash/${program} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
          COMPONENT ${component})
  install(FILES ${out}/zsh/_${program} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions
          COMPONENT ${component})
endforeach()
add_custom_target(evoke_documents ALL DEPENDS ${documents})

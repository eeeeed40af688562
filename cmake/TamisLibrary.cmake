# tamis_library(<room> SOURCES ... [DEPENDS rooms...] [PRIVATE libraries...])
#
# One target a directory: tamis_<room>, alias tamis::<room>. A room sees the public headers, its own
# sources as "room/file.h", and the rooms it depends on. Including another room's header compiles,
# but using it does not link; DESIGN's arrows are therefore the DEPENDS lines.
function(tamis_library room)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  set(target tamis_${room})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(tamis::${room} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${room})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_features(${target} PUBLIC cxx_std_20)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(${target} PUBLIC tamis::${dependency})
  endforeach()
  if(ARG_PRIVATE)
    target_link_libraries(${target} PRIVATE ${ARG_PRIVATE})
  endif()
  tamis_compile_options(${target})
  set_property(GLOBAL APPEND PROPERTY TAMIS_ROOMS ${target})
endfunction()

# Warnings and sanitizers of every target of ours.
function(tamis_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers)
  if(TAMIS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(TAMIS_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TAMIS_SANITIZE} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -g1)
    target_link_options(${target} PUBLIC -fsanitize=${TAMIS_SANITIZE})
  endif()
endfunction()

# tamis_test(<name> SOURCES ... DEPENDS rooms... [LABELS slow])
#
# A GoogleTest program, registered as one ctest test. Tests may include a room's private headers.
function(tamis_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;PRIVATE;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(${name} PRIVATE tamis::${dependency})
  endforeach()
  target_link_libraries(${name} PRIVATE GTest::gtest GTest::gtest_main GTest::gmock ${ARG_PRIVATE})
  tamis_compile_options(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()

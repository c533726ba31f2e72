# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
include_guard()

if(NOT TARGET Catch2::Catch2)
  find_package(Catch2 REQUIRED CONFIG)
endif()
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

# The one main function and, with Catch2 2, the framework itself.
add_library(tests_main OBJECT main.cpp)
target_link_libraries(tests_main PRIVATE tithe-development PUBLIC Catch2::Catch2)
target_compile_features(tests_main PRIVATE cxx_std_20)

# Says of test files that they are built by something else than tithe_add_tests.
function(tithe_list_tests)
  set_property(GLOBAL APPEND PROPERTY tithe_listed_tests ${ARGN})
endfunction()

# tithe_add_tests(<program> <library> <file>...): a test program and what CTest runs of it: its cases, and, apart, the
# cases tagged [third-party], which say SKIPPED and are counted as skipped where TITHE_DATA is missing.
function(tithe_add_tests program library)
  tithe_list_tests(${ARGN})
  add_executable(${program} ${ARGN} $<TARGET_OBJECTS:tests_main>)
  target_include_directories(${program} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
  target_link_libraries(${program} PRIVATE Catch2::Catch2)
  tithe_own_target(${program} ${library})
  if(TITHE_PCH AND NOT library STREQUAL "tithe::tithe")
    target_precompile_headers(${program} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/test.hpp" <nlohmann/json.hpp>)
  endif()

  add_test(NAME ${program} COMMAND ${program} "~[third-party]~[.]")  # those with a dot are for scripts
  set(tests ${program})
  foreach(file IN LISTS ARGN)
    file(STRINGS "${file}" tagged REGEX "\\[third-party\\]")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    if(tagged)
      add_test(NAME ${program}.third_party COMMAND ${program} "[third-party]")
      list(APPEND tests ${program}.third_party)
      break()
    endif()
  endforeach()
  # The models are tiny: a second thread of LibTorch's would wait for the first, and two programs run at once instead.
  set_tests_properties(${tests} PROPERTIES ENVIRONMENT "TITHE_DATA=${TITHE_DATA};OMP_NUM_THREADS=1" SKIP_RETURN_CODE 77 TIMEOUT 600)
endfunction()

# The compilers that rejections and headers are tried with: the one of this build, and g++ and clang where they are.
set(tithe_compilers "${CMAKE_CXX_COMPILER}")
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(TITHE_GXX NAMES g++-14 g++-13 g++-12 g++)
  list(APPEND tithe_compilers ${TITHE_GXX})
endif()
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  find_program(TITHE_CLANGXX NAMES clang++-19 clang++-20 clang++)
  list(APPEND tithe_compilers ${TITHE_CLANGXX})
endif()
list(FILTER tithe_compilers EXCLUDE REGEX "NOTFOUND$")

# tithe_add_rejection(<name> <file> <CASE_x> <text> [TORCH]): compiling <file> with -DCASE_x fails with exactly one error, a
# static assertion that says <text>, in at most ten lines; without it, <file> compiles. TORCH, for files that see LibTorch.
function(tithe_add_rejection name file case text)
  cmake_parse_arguments(PARSE_ARGV 4 arg "TORCH" "COMPLAINT" "")
  set(library tithe::core)
  if(arg_TORCH)
    set(library tithe::tithe)
  endif()
  tithe_list_tests("${file}")
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check_rejection.py")
  cmake_path(ABSOLUTE_PATH file)
  set(flags "$<TARGET_PROPERTY:${library},INTERFACE_INCLUDE_DIRECTORIES>")
  string(REPLACE ";" "," compilers "${tithe_compilers}")
  set(command "${Python3_EXECUTABLE}" "${script}" --compilers "${compilers}" --includes "$<JOIN:${flags},$<COMMA>>"
      --headers "${CMAKE_CURRENT_BINARY_DIR}/rejections")

  # One accepting twin serves all cases of a file, and a case counts only if its twin compiles.
  cmake_path(RELATIVE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_FUNCTION_LIST_DIR}" OUTPUT_VARIABLE twin)
  get_property(twins GLOBAL PROPERTY tithe_accepting_twins)
  if(NOT twin IN_LIST twins)
    set_property(GLOBAL APPEND PROPERTY tithe_accepting_twins "${twin}")
    add_test(NAME "accepts.${twin}" COMMAND ${command} "${file}")
    set_tests_properties("accepts.${twin}" PROPERTIES FIXTURES_SETUP "accepts.${twin}")
  endif()
  add_test(NAME "rejects.${name}" COMMAND ${command} --case "${case}" --text "${text}" "${file}")
  set_tests_properties("rejects.${name}" PROPERTIES FIXTURES_REQUIRED "accepts.${twin}")
  if(arg_COMPLAINT)
    set_tests_properties("rejects.${name}" PROPERTIES PASS_REGULAR_EXPRESSION "${arg_COMPLAINT}")
  endif()
endfunction()

# A test that stands in no list would never run. A draft that git does not track yet is only a warning.
function(tithe_refuse_unlisted_tests)
  file(GLOB_RECURSE files RELATIVE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}" CONFIGURE_DEPENDS
       "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/*.cpp")
  list(FILTER files EXCLUDE REGEX "^(main\\.cpp|packaging/.*)$")
  get_property(listed GLOBAL PROPERTY tithe_listed_tests)
  list(REMOVE_ITEM files ${listed})
  if(NOT files)
    return()
  endif()
  list(JOIN files " " names)
  execute_process(COMMAND git ls-files -- ${files} WORKING_DIRECTORY "${CMAKE_CURRENT_FUNCTION_LIST_DIR}"
                  OUTPUT_VARIABLE tracked ERROR_QUIET RESULT_VARIABLE no_git)
  set(severity FATAL_ERROR)
  if(no_git EQUAL 0 AND tracked STREQUAL "")
    set(severity WARNING)
  endif()
  message(${severity} "tests: in no list of tests/CMakeLists.txt, so never run: ${names}")
endfunction()

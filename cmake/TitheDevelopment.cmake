# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# What tithe's own tests, programs and benchmarks are built with. Nothing here reaches a user of the library.

include(CheckLinkerFlag)

# A compiler that reads LibTorch takes about 1.5 GB, so as many at once as memory and cores allow.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_JOB_POOLS)
  cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
  cmake_host_system_information(RESULT mebibytes QUERY TOTAL_PHYSICAL_MEMORY)
  math(EXPR jobs "${mebibytes} / 2048")
  if(jobs GREATER cores)
    set(jobs ${cores})
  elseif(jobs LESS 1)
    set(jobs 1)
  endif()
  set(TITHE_COMPILE_JOBS ${jobs} CACHE STRING "How many compilers and linkers run at once (Ninja)")
  set_property(GLOBAL PROPERTY JOB_POOLS tithe_compile=${TITHE_COMPILE_JOBS})
  set(CMAKE_JOB_POOL_COMPILE tithe_compile)
  set(CMAKE_JOB_POOL_LINK tithe_compile)
endif()

# ccache needs to be told that a precompiled header is safe to cache (its manual, "Precompiled headers"), and that the
# compiler's list of headers will do: else it runs the preprocessor on all that it has not seen, which takes seconds.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(TITHE_CCACHE ccache)
  if(TITHE_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
        "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime" CCACHE_DEPEND=1 "${TITHE_CCACHE}")
  endif()
endif()

set(CMAKE_CXX_EXTENSIONS OFF)

# The flags of every target of ours.
add_library(tithe-development INTERFACE)
target_compile_options(tithe-development INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion)
if(TITHE_WERROR)
  target_compile_options(tithe-development INTERFACE -Werror)
endif()
if(TITHE_SANITIZE)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(tithe-development INTERFACE ${sanitizers})
  target_link_options(tithe-development INTERFACE ${sanitizers})
  # LibTorch's classes are defined in libraries that were built without run-time type information for the sanitizer.
  target_compile_options(tithe-development INTERFACE -fno-sanitize=vptr)
  # g++'s manual: with sanitizers its warnings have more false alarms. This one has them in the standard library.
  target_compile_options(tithe-development INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
# clang's own linker takes a quarter of the other's time.
check_linker_flag(CXX -fuse-ld=lld TITHE_LLD)
if(TITHE_LLD)
  target_link_options(tithe-development INTERFACE -fuse-ld=lld)
endif()
# So that ccache can keep what was compiled with the precompiled header.
if(TITHE_PCH AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tithe-development INTERFACE -fpch-preprocess -Winvalid-pch)
elseif(TITHE_PCH AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(tithe-development INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
endif()

# Carries the precompiled header that all our targets with LibTorch share; they must not differ in flags.
if(TITHE_PCH)
  file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "// Carries the precompiled header.\n")
  add_library(tithe-precompiled OBJECT EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/precompiled.cpp")
  target_link_libraries(tithe-precompiled PRIVATE tithe-development tithe::tithe)
  target_precompile_headers(tithe-precompiled PRIVATE "${CMAKE_CURRENT_LIST_DIR}/precompiled.hpp")
  if(TITHE_BUILD_TESTS)
    find_package(Catch2 REQUIRED CONFIG)
    target_link_libraries(tithe-precompiled PRIVATE Catch2::Catch2)
    target_precompile_headers(tithe-precompiled PRIVATE "${PROJECT_SOURCE_DIR}/tests/test.hpp")
  endif()
endif()

# For scripts that run a compiler themselves: every header in one file, and the include paths as compiler arguments.
list(TRANSFORM headers REPLACE "^${PROJECT_SOURCE_DIR}/include/(.*)$" "#include \"\\1\"\n" OUTPUT_VARIABLE every_header)
list(JOIN every_header "" every_header)
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/everything/everything.hpp" CONTENT "#pragma once\n${every_header}")
set(folders "$<TARGET_PROPERTY:tithe-tithe,INTERFACE_INCLUDE_DIRECTORIES>")
set(folders "$<REMOVE_DUPLICATES:$<FILTER:${folders},EXCLUDE,^(/usr/include|${PROJECT_SOURCE_DIR}/include)/?$>>")
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/include_flags.rsp"
     CONTENT "\"-I${PROJECT_SOURCE_DIR}/include\"\n\"-isystem$<JOIN:${folders},\"\n\"-isystem>\"\n")

# Loops that are worth optimizing where nothing else is.
if(CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT TITHE_SANITIZE)
  add_library(tithe-optimized OBJECT EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/optimized.cpp")
  target_link_libraries(tithe-optimized PRIVATE tithe-development tithe::tithe)
  target_compile_options(tithe-optimized PRIVATE -O2)
endif()

# Gives a target our flags and the library (tithe::tithe or tithe::core).
function(tithe_own_target target library)
  target_link_libraries(${target} PRIVATE tithe-development ${library})
  if(TITHE_PCH AND library STREQUAL "tithe::tithe")
    target_precompile_headers(${target} REUSE_FROM tithe-precompiled)
  endif()
  get_target_property(type ${target} TYPE)
  if(TARGET tithe-optimized AND library STREQUAL "tithe::tithe" AND type STREQUAL "EXECUTABLE")
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:tithe-optimized>)
  endif()
endfunction()

# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# The libraries that tithe's own headers include, as targets visible from every folder of a project. They are in Debian as
# libboost-dev, libeigen3-dev, librange-v3-dev and nlohmann-json3-dev, and for the tokenizer libpcre2-dev and
# libutf8proc-dev.
include_guard()

# Makes the target <name> of a C library that comes without CMake files; appends <description> to the list <result> if it is
# not found.
function(tithe_find_c_library name header library description result)
  if(TARGET ${name})
    return()
  endif()
  string(MAKE_C_IDENTIFIER "TITHE_${library}" variable)
  string(TOUPPER "${variable}" variable)
  find_path(${variable}_INCLUDE_DIR ${header})
  find_library(${variable}_LIBRARY NAMES ${library})
  mark_as_advanced(${variable}_INCLUDE_DIR ${variable}_LIBRARY)
  if(NOT ${variable}_INCLUDE_DIR OR NOT ${variable}_LIBRARY)
    set(${result} ${${result}} "${description}" PARENT_SCOPE)
    return()
  endif()
  add_library(${name} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION "${${variable}_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${${variable}_INCLUDE_DIR}")
endfunction()

# Sets <problem> to a sentence if a library is missing, to nothing if all are there.
function(tithe_find_libraries problem)
  set(${problem} "" PARENT_SCOPE)
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL TRUE)
  set(missing)
  if(NOT TARGET nlohmann_json::nlohmann_json)
    find_package(nlohmann_json 3.10 QUIET CONFIG)
    if(NOT nlohmann_json_FOUND)
      list(APPEND missing "nlohmann_json 3.10 or later")
    endif()
  endif()
  if(NOT TARGET range-v3::range-v3)
    find_package(range-v3 QUIET CONFIG)
    if(NOT range-v3_FOUND)
      list(APPEND missing "range-v3")
    endif()
  endif()
  if(NOT TARGET Boost::headers)
    find_package(Boost 1.74 QUIET CONFIG)
    if(NOT Boost_FOUND)
      list(APPEND missing "Boost 1.74 or later (its headers, for Boost.Hana)")
    endif()
  endif()
  if(NOT TARGET Eigen3::Eigen)
    find_package(Eigen3 3.4 QUIET CONFIG)
    if(NOT Eigen3_FOUND)
      list(APPEND missing "Eigen 3.4")
    endif()
  endif()
  tithe_find_c_library(tithe::pcre2 pcre2.h pcre2-8 "PCRE2 10.40 or later (its 8-bit library)" missing)
  tithe_find_c_library(tithe::utf8proc utf8proc.h utf8proc "utf8proc" missing)
  if(missing)
    list(JOIN missing ", " missing)
    set(${problem} "tithe: not found: ${missing}. Install what is missing (Debian: libboost-dev libeigen3-dev \
librange-v3-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev), or name its folder with -DCMAKE_PREFIX_PATH=<folder>." PARENT_SCOPE)
  endif()
endfunction()

# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# The header-only libraries that tithe's own headers include, as targets visible from every folder of a project.
# They are in Debian as libboost-dev, librange-v3-dev and nlohmann-json3-dev.
include_guard()

# Sets <problem> to a sentence if a library is missing, to nothing if all are there.
function(tithe_find_header_libraries problem)
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
  if(missing)
    list(JOIN missing ", " missing)
    set(${problem} "tithe: not found: ${missing}. Install what is missing (Debian: libboost-dev librange-v3-dev \
nlohmann-json3-dev), or name its folder with -DCMAKE_PREFIX_PATH=<folder>." PARENT_SCOPE)
  endif()
endfunction()

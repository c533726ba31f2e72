# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# Finds LibTorch and makes the target tithe::libtorch of it. Where it looks, first match wins:
#   1. a target `torch` that is already there;
#   2. where find_package(Torch) would look: Torch_DIR, CMAKE_PREFIX_PATH, the system;
#   3. the Python interpreter TITHE_PYTHON if that is given, else those of the virtual environments that $TITHE_VENV and
#      $VIRTUAL_ENV name, of `.venv` in the source tree, and python3 on the PATH;
#   4. for an installed tithe, the LibTorch that it was installed with.
# A LibTorch with shared libraries is linked by path, without its own CMake files: those stop with an error where a build
# with CUDA meets a machine without the CUDA toolkit, and name libraries (protobuf, MKL) that a user need not have.
include_guard()

set(TITHE_PYTHON "" CACHE FILEPATH "Python interpreter whose LibTorch (the torch package) is used")
option(TITHE_CUDA "Load LibTorch's CUDA libraries, where it has them" ON)
set(tithe_oldest_torch 2.6)

# The folder of the torch package that a Python interpreter would import; empty if none. torch itself is not imported,
# since that takes seconds.
function(tithe_torch_of_python python result)
  set(${result} "" PARENT_SCOPE)
  execute_process(
    COMMAND "${python}" -c
            "import importlib.util, os; spec = importlib.util.find_spec('torch'); print(os.path.dirname(spec.origin))"
    OUTPUT_VARIABLE folder ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(NOT failed AND EXISTS "${folder}/lib")
    set(${result} "${folder}" PARENT_SCOPE)
  endif()
endfunction()

# The version that a LibTorch's headers state; empty if they are not found. The file moved in 2.8.
function(tithe_torch_version include_folders result)
  set(${result} "" PARENT_SCOPE)
  foreach(folder IN LISTS include_folders)
    foreach(file torch/headeronly/version.h torch/csrc/api/include/torch/version.h torch/version.h)
      if(EXISTS "${folder}/${file}")
        file(STRINGS "${folder}/${file}" lines REGEX "^ *# *define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
        string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
        string(REPLACE ";" "." version "${numbers}")
        if(version MATCHES "^[0-9]+\\.[0-9]+")
          set(${result} "${version}" PARENT_SCOPE)
          return()
        endif()
      endif()
    endforeach()
  endforeach()
endfunction()

# Makes tithe::libtorch from a folder with include/ and lib/.
function(tithe_link_torch_folder folder)
  set(libraries)
  set(names torch_cpu c10)
  if(TITHE_CUDA AND EXISTS "${folder}/lib/libtorch_cuda${CMAKE_SHARED_LIBRARY_SUFFIX}")
    list(APPEND names torch_cuda c10_cuda)
  endif()
  foreach(name IN LISTS names)
    add_library(tithe::libtorch_${name} SHARED IMPORTED GLOBAL)
    set_target_properties(
      tithe::libtorch_${name} PROPERTIES
      IMPORTED_LOCATION "${folder}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}${name}${CMAKE_SHARED_LIBRARY_SUFFIX}")
    list(APPEND libraries tithe::libtorch_${name})
  endforeach()
  add_library(tithe::libtorch INTERFACE IMPORTED GLOBAL)
  target_include_directories(tithe::libtorch SYSTEM INTERFACE "${folder}/include"
                             "${folder}/include/torch/csrc/api/include")
  target_link_libraries(tithe::libtorch INTERFACE ${libraries})
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND EXISTS "${folder}/lib/libc10_cuda.so")
    # The CUDA libraries come from other packages and are found when the program starts. No symbol of torch_cuda is named
    # by a user: it registers its kernels when it is loaded, so the linker must not drop it.
    target_link_options(tithe::libtorch INTERFACE "LINKER:--unresolved-symbols=ignore-in-shared-libs")
    if(TITHE_CUDA)
      target_link_options(tithe::libtorch INTERFACE "LINKER:--no-as-needed")
    endif()
  endif()
  # Wheels before 2.7 may have been built with the old string ABI; their CMake file says so.
  if(EXISTS "${folder}/share/cmake/Torch/TorchConfig.cmake")
    file(STRINGS "${folder}/share/cmake/Torch/TorchConfig.cmake" abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
    if(abi)
      target_compile_definitions(tithe::libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=0)
    endif()
  endif()
endfunction()

# Makes tithe::libtorch, and sets <problem> to a sentence if it cannot, to nothing if it can. <hints> are folders of a
# torch package to try last.
function(tithe_find_torch problem hints)
  set(${problem} "" PARENT_SCOPE)
  if(TARGET tithe::libtorch)
    return()
  endif()
  set(too_old "older than ${tithe_oldest_torch}, the oldest that tithe works with. Install a newer one (pip install torch), \
or name another with -DTITHE_PYTHON=<python> or -DCMAKE_PREFIX_PATH=<folder>.")

  if(TARGET torch)
    get_target_property(folders torch INTERFACE_INCLUDE_DIRECTORIES)
    tithe_torch_version("${folders}" version)
    if(version AND version VERSION_LESS tithe_oldest_torch)
      set(${problem} "tithe: the target torch of this project is LibTorch ${version}, ${too_old}" PARENT_SCOPE)
      return()
    endif()
    add_library(tithe::libtorch INTERFACE IMPORTED GLOBAL)
    target_link_libraries(tithe::libtorch INTERFACE torch)
    return()
  endif()

  # Every place that may hold a LibTorch, in order.
  set(candidates)
  find_file(TITHE_TORCH_CONFIG TorchConfig.cmake HINTS ${Torch_DIR} $ENV{Torch_DIR}
            PATH_SUFFIXES share/cmake/Torch lib/cmake/Torch cmake/Torch Torch NO_CACHE)
  if(TITHE_TORCH_CONFIG)
    cmake_path(GET TITHE_TORCH_CONFIG PARENT_PATH config_folder)
    cmake_path(SET torch_folder NORMALIZE "${config_folder}/../../..")
    string(REGEX REPLACE "/$" "" torch_folder "${torch_folder}")
    list(APPEND candidates "${torch_folder}")
  endif()
  if(TITHE_PYTHON)
    set(pythons "${TITHE_PYTHON}")
  else()
    find_program(python NAMES python3 python NO_CACHE)
    set(pythons)
    foreach(environment TITHE_VENV VIRTUAL_ENV)
      if(DEFINED ENV{${environment}})
        list(APPEND pythons "$ENV{${environment}}/bin/python")
      endif()
    endforeach()
    list(APPEND pythons "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../.venv/bin/python")
    if(python)
      list(APPEND pythons "${python}")
    endif()
  endif()
  foreach(interpreter IN LISTS pythons)
    if(EXISTS "${interpreter}")
      tithe_torch_of_python("${interpreter}" folder)
      list(APPEND candidates ${folder})
    endif()
  endforeach()
  list(APPEND candidates ${hints})

  set(seen)
  foreach(folder IN LISTS candidates)
    tithe_torch_version("${folder}/include;${folder}/include/torch/csrc/api/include" version)
    if(NOT version)
      continue()
    endif()
    if(version VERSION_LESS tithe_oldest_torch)
      message(STATUS "LibTorch ${version} passed over, too old: ${folder}")
      list(APPEND seen "${version} in ${folder}")
      continue()
    endif()
    if(EXISTS "${folder}/lib/${CMAKE_SHARED_LIBRARY_PREFIX}torch_cpu${CMAKE_SHARED_LIBRARY_SUFFIX}")
      tithe_link_torch_folder("${folder}")
    else()
      # A distribution's package, or static libraries: its own CMake files know what it needs.
      set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL TRUE)
      find_package(Torch REQUIRED CONFIG PATHS "${folder}")
      add_library(tithe::libtorch INTERFACE IMPORTED GLOBAL)
      target_link_libraries(tithe::libtorch INTERFACE ${TORCH_LIBRARIES})
      target_include_directories(tithe::libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
    endif()
    set_property(GLOBAL PROPERTY tithe_torch_folder "${folder}")
    message(STATUS "LibTorch ${version}: ${folder}")
    return()
  endforeach()

  if(seen)
    list(JOIN seen " and " seen)
    set(${problem} "tithe: LibTorch ${seen} is ${too_old}" PARENT_SCOPE)
  else()
    set(${problem} "tithe: no LibTorch found. Install it (pip install torch), activate the virtual environment that has it, \
or name it with -DTITHE_PYTHON=<python> or -DCMAKE_PREFIX_PATH=<folder of libtorch>." PARENT_SCOPE)
  endif()
endfunction()

# How modules, tests and fuzz targets are declared. See docs/CONTRIBUTING.md.

add_library(llmproxy_options INTERFACE)
target_link_libraries(llmproxy_options INTERFACE llmproxy_warnings llmproxy_sanitizers)
if(LLMPROXY_FUZZ)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "LLMPROXY_FUZZ needs clang (preset fuzz)")
    endif()
    target_compile_options(llmproxy_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Modules whose users include Asio: a target that depends on one of them uses the shared precompiled header.
set(LLMPROXY_ASIO_MODULES net storage accounts http upstream pipeline otlp edge handlers app test_support)

# Compiles cmake/pch.hpp once. Called when the first target needs it: `core` exists by then.
function(_llmproxy_use_pch target)
    if(NOT LLMPROXY_PCH)
        return()
    endif()
    if(NOT TARGET llmproxy_pch)
        set(source ${PROJECT_BINARY_DIR}/generated/pch.cpp)
        file(CONFIGURE OUTPUT ${source} CONTENT "// Holds the precompiled header.\n")
        add_library(llmproxy_pch STATIC ${source})
        target_link_libraries(llmproxy_pch PRIVATE llmproxy::core llmproxy_options)
        target_precompile_headers(llmproxy_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.hpp)
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            target_compile_options(llmproxy_pch PRIVATE -fpch-preprocess)
        endif()
    endif()
    target_precompile_headers(${target} REUSE_FROM llmproxy_pch)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # ccache can only cache users of a precompiled header that is visible in the preprocessed text.
        target_compile_options(${target} PRIVATE -fpch-preprocess)
    endif()
endfunction()

function(_llmproxy_maybe_pch target wanted name deps)
    foreach(dep IN LISTS deps name)
        if(dep IN_LIST LLMPROXY_ASIO_MODULES)
            set(wanted TRUE)
        endif()
    endforeach()
    if(wanted)
        _llmproxy_use_pch(${target})
    endif()
endfunction()

function(_llmproxy_check_arguments command)
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "${command}(${ARG_NAME}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT ARG_NAME OR NOT ARG_SOURCES)
        message(FATAL_ERROR "${command}: NAME and SOURCES are needed")
    endif()
endfunction()

# llmproxy_module(NAME net SOURCES a.cpp ... [DEPS core ...] [LIBS OpenSSL::SSL ...] [PCH])
#
# The static library llmproxy_<name>, alias llmproxy::<name>. DEPS are our modules, LIBS are external
# targets; both are PUBLIC. PCH uses the shared precompiled header; it is implied by a DEPS on Asio.
function(llmproxy_module)
    cmake_parse_arguments(PARSE_ARGV 0 ARG "PCH" "NAME" "SOURCES;DEPS;LIBS")
    _llmproxy_check_arguments(llmproxy_module)
    set(target llmproxy_${ARG_NAME})
    add_library(${target} STATIC ${ARG_SOURCES})
    add_library(llmproxy::${ARG_NAME} ALIAS ${target})
    target_include_directories(${target}
        PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/generated
        PRIVATE ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
    list(TRANSFORM ARG_DEPS PREPEND llmproxy:: OUTPUT_VARIABLE deps)
    target_link_libraries(${target} PUBLIC ${deps} ${ARG_LIBS} PRIVATE llmproxy_options)
    if(ARG_NAME STREQUAL "core")
        # The one translation unit that holds Asio and Beast is src/net/asio.cpp.
        target_compile_definitions(${target} PUBLIC
            BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
            # Coroutine frames from operator new: aligned_alloc passes the thread's own free lists by.
            BOOST_ASIO_DISABLE_STD_ALIGNED_ALLOC BOOST_ASIO_DISABLE_BOOST_ALIGN)
    endif()
    _llmproxy_maybe_pch(${target} "${ARG_PCH}" "${ARG_NAME}" "${ARG_DEPS}")
endfunction()

# llmproxy_test_library(NAME support SOURCES ... [DEPS ...] [LIBS ...]): code that only tests use;
# its headers are included relative to tests/.
function(llmproxy_test_library)
    llmproxy_module(${ARGV})
    cmake_parse_arguments(PARSE_ARGV 0 ARG "PCH" "NAME" "SOURCES;DEPS;LIBS")
    target_include_directories(llmproxy_${ARG_NAME} PUBLIC ${PROJECT_SOURCE_DIR}/tests)
endfunction()

# llmproxy_test(NAME unit_core LABEL unit SOURCES a_test.cpp ... DEPS core ... [LIBS ...] [TIMEOUT 60]
#               [SERIAL] [PCH] [MAIN])
#
# One GoogleTest binary, main() included unless MAIN says that SOURCES have it. Each test case becomes a
# ctest case of its own, listed when ctest starts, with the label and the timeout (seconds, per case).
# SERIAL: none of its cases runs beside another test.
function(llmproxy_test)
    if(NOT LLMPROXY_TESTS)
        return()
    endif()
    cmake_parse_arguments(PARSE_ARGV 0 ARG "PCH;SERIAL;MAIN" "NAME;LABEL;TIMEOUT" "SOURCES;DEPS;LIBS")
    _llmproxy_check_arguments(llmproxy_test)
    if(NOT ARG_LABEL MATCHES "^(unit|integration|e2e)$")
        message(FATAL_ERROR "llmproxy_test(${ARG_NAME}): LABEL is unit, integration or e2e")
    endif()
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 60)
    endif()
    set(gtest GTest::gtest_main)
    if(ARG_MAIN)
        set(gtest GTest::gtest)
    endif()
    list(TRANSFORM ARG_DEPS PREPEND llmproxy:: OUTPUT_VARIABLE deps)
    add_executable(${ARG_NAME} ${ARG_SOURCES})
    target_include_directories(${ARG_NAME} PRIVATE
        ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_definitions(${ARG_NAME} PRIVATE
        LLMPROXY_SOURCE_DIR="${PROJECT_SOURCE_DIR}" LLMPROXY_BINARY_DIR="${PROJECT_BINARY_DIR}")
    target_link_libraries(${ARG_NAME} PRIVATE ${deps} ${ARG_LIBS} GTest::gmock ${gtest} llmproxy_options)
    _llmproxy_maybe_pch(${ARG_NAME} "${ARG_PCH}" "${ARG_NAME}" "${ARG_DEPS}")

    set(LIST_FILE ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}_cases.cmake)
    set(serial OFF)
    if(ARG_SERIAL)
        set(serial ON)
    endif()
    file(GENERATE OUTPUT ${LIST_FILE} CONTENT
"set(TEST_BINARY [==[$<TARGET_FILE:${ARG_NAME}>]==])
set(TEST_PREFIX [==[${ARG_NAME}]==])
set(TEST_LABEL [==[${ARG_LABEL}]==])
set(TEST_TIMEOUT ${ARG_TIMEOUT})
set(TEST_SERIAL ${serial})
set(TEST_WORKDIR [==[${PROJECT_SOURCE_DIR}]==])
include([==[${PROJECT_SOURCE_DIR}/cmake/list_cases.cmake]==])
")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${LIST_FILE})
endfunction()

# llmproxy_fuzz_target(NAME fuzz_sse SOURCES sse_fuzz.cpp DEPS http)
#
# With LLMPROXY_FUZZ a libFuzzer program (corpus: tests/fuzz/corpus/<name without fuzz_>). Otherwise, with
# tests on, the same entry point replays that corpus as a unit test, so that every found input stays fixed.
function(llmproxy_fuzz_target)
    cmake_parse_arguments(PARSE_ARGV 0 ARG "" "NAME" "SOURCES;DEPS;LIBS")
    _llmproxy_check_arguments(llmproxy_fuzz_target)
    string(REGEX REPLACE "^fuzz_" "" short ${ARG_NAME})
    list(TRANSFORM ARG_DEPS PREPEND llmproxy:: OUTPUT_VARIABLE deps)
    if(LLMPROXY_FUZZ)
        add_executable(${ARG_NAME} ${ARG_SOURCES})
        target_link_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
        set_property(GLOBAL APPEND PROPERTY LLMPROXY_FUZZ_TARGETS ${ARG_NAME})
    elseif(LLMPROXY_TESTS)
        add_executable(${ARG_NAME} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/cmake/fuzz_replay.cpp)
        add_test(NAME ${ARG_NAME}.replay
            COMMAND ${ARG_NAME} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${short})
        set_tests_properties(${ARG_NAME}.replay PROPERTIES LABELS unit TIMEOUT 120)
    else()
        return()
    endif()
    target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${ARG_NAME} PRIVATE ${deps} ${ARG_LIBS} llmproxy_options)
endfunction()

#include <metalloid/data_type.hpp>

namespace metalloid {

std::string_view name(DataType type) {
  switch (type) {
    case DataType::invalid:
      return "invalid";
    case DataType::float32:
      return "float32";
    case DataType::float16:
      return "float16";
    case DataType::bFloat16:
      return "bFloat16";
    case DataType::complexFloat32:
      return "complexFloat32";
    case DataType::complexFloat16:
      return "complexFloat16";
    case DataType::int8:
      return "int8";
    case DataType::int16:
      return "int16";
    case DataType::int32:
      return "int32";
    case DataType::int64:
      return "int64";
    case DataType::uInt8:
      return "uInt8";
    case DataType::uInt16:
      return "uInt16";
    case DataType::uInt32:
      return "uInt32";
    case DataType::uInt64:
      return "uInt64";
    case DataType::bool_:
      return "bool_";
    case DataType::unorm1:
      return "unorm1";
    case DataType::unorm8:
      return "unorm8";
    case DataType::unorm16:
      return "unorm16";
    default:
      return "unknown";
  }
}

}  // namespace metalloid

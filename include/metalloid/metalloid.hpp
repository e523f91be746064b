#pragma once

/// @file
/// Every public header.

#include <metalloid/archive.hpp>
#include <metalloid/buffer.hpp>
#include <metalloid/cnn_arithmetic.hpp>
#include <metalloid/cnn_batch_normalization.hpp>
#include <metalloid/cnn_batch_normalization_state.hpp>
#include <metalloid/cnn_convolution.hpp>
#include <metalloid/cnn_convolution_data_source.hpp>
#include <metalloid/cnn_convolution_descriptor.hpp>
#include <metalloid/cnn_convolution_state.hpp>
#include <metalloid/cnn_convolution_transpose.hpp>
#include <metalloid/cnn_dropout.hpp>
#include <metalloid/cnn_fully_connected.hpp>
#include <metalloid/cnn_group_normalization.hpp>
#include <metalloid/cnn_instance_normalization.hpp>
#include <metalloid/cnn_kernel.hpp>
#include <metalloid/cnn_local_normalization.hpp>
#include <metalloid/cnn_loss.hpp>
#include <metalloid/cnn_loss_labels.hpp>
#include <metalloid/cnn_loss_type.hpp>
#include <metalloid/cnn_neuron.hpp>
#include <metalloid/cnn_neuron_nodes.hpp>
#include <metalloid/cnn_neuron_type.hpp>
#include <metalloid/cnn_normalization_state.hpp>
#include <metalloid/cnn_pooling.hpp>
#include <metalloid/cnn_softmax.hpp>
#include <metalloid/cnn_upsampling.hpp>
#include <metalloid/command_buffer.hpp>
#include <metalloid/command_queue.hpp>
#include <metalloid/data_type.hpp>
#include <metalloid/device.hpp>
#include <metalloid/error.hpp>
#include <metalloid/geometry.hpp>
#include <metalloid/image.hpp>
#include <metalloid/image_edge_mode.hpp>
#include <metalloid/kernel.hpp>
#include <metalloid/kernel_options.hpp>
#include <metalloid/matrix.hpp>
#include <metalloid/matrix_batch_normalization.hpp>
#include <metalloid/matrix_copy.hpp>
#include <metalloid/matrix_find_top_k.hpp>
#include <metalloid/matrix_fully_connected.hpp>
#include <metalloid/matrix_kernel.hpp>
#include <metalloid/matrix_multiplication.hpp>
#include <metalloid/matrix_neuron.hpp>
#include <metalloid/matrix_random.hpp>
#include <metalloid/matrix_softmax.hpp>
#include <metalloid/matrix_softmax_cross_entropy.hpp>
#include <metalloid/matrix_sum.hpp>
#include <metalloid/nn_concatenation.hpp>
#include <metalloid/nn_forward_loss.hpp>
#include <metalloid/nn_graph.hpp>
#include <metalloid/nn_nodes.hpp>
#include <metalloid/nn_optimizer.hpp>
#include <metalloid/nn_padding.hpp>
#include <metalloid/nn_reduce.hpp>
#include <metalloid/nn_reshape.hpp>
#include <metalloid/nn_slice.hpp>
#include <metalloid/state.hpp>
#include <metalloid/vector.hpp>

/// Neural-network training kernels with the semantics of Metal Performance Shaders. Class names are Apple's without the
/// prefix MPS or MTL; how each open point of Apple's documentation is read stands in docs/semantics.md.
namespace metalloid {}
